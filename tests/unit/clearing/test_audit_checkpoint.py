"""The checkpoint of the daily audit: its digest, which older rows are proved again, and since when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.daily_audit.checkpoint import (
    ChainPosition,
    CheckpointContent,
    RecheckShare,
    SealedCheckpoint,
    broken_links,
    oldest_proof,
    seal,
)
from clearing.daily_audit.figures import LedgerFigures
from clearing.ledger.hash_chain import GENESIS
from clearing.ledger.journal_entry import Transfer

NIGHT = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


def sealed(count: int, *, shares: int = 4) -> list[SealedCheckpoint]:
    found: list[SealedCheckpoint] = []
    for number in range(count):
        previous = found[-1].hash if found else GENESIS
        found.append(
            seal(
                f'{{"run":{number}}}',
                sequence=number + 1,
                sealed_at=NIGHT + timedelta(days=number),
                shares=shares,
                previous_hash=previous,
            )
        )
    return found


def test_a_chain_of_checkpoints_as_sealed_is_whole() -> None:
    assert broken_links([]) == []
    assert broken_links(sealed(5)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"sealed_at": NIGHT},
        {"shares": 5},
        {"content_sha256": bytes(32)},
        {"previous_hash": bytes(32)},
        {"hash": bytes(32)},
    ],
)
def test_any_changed_column_breaks_the_chain(change: dict[str, object]) -> None:
    checkpoints = sealed(4)
    checkpoints[1] = replace(checkpoints[1], **change)  # type: ignore[arg-type]
    assert broken_links(checkpoints)


@pytest.mark.parametrize("number", range(3))
def test_a_checkpoint_that_is_missing_before_the_last_is_found(number: int) -> None:
    checkpoints = sealed(4)
    del checkpoints[number]
    assert any("is missing" in detail for _, detail in broken_links(checkpoints))


@given(of=st.integers(1, 366), last=st.integers(0, 2000))
def test_each_older_row_is_proved_again_in_one_share(of: int, last: int) -> None:
    shares = [RecheckShare(number=number, of=of) for number in range(of)]
    assert sorted(one for share in shares for one in share.positions(last)) == list(range(1, last + 1))
    assert sorted(one for share in shares for one in share.shards(64)) == list(range(64))
    assert sorted(one for share in shares for one in share.ordinals(7, last)) == list(range(7, last + 1))
    numbers = [one for share in shares for first, end in share.blocks(last) for one in range(first, end + 1)]
    assert sorted(numbers) == list(range(1, last + 1))


def test_the_oldest_proof_is_the_first_run_until_each_share_had_its_turn() -> None:
    assert oldest_proof([], shares=4) is None
    assert oldest_proof(sealed(2), shares=4) == NIGHT
    assert oldest_proof(sealed(3), shares=4) == NIGHT
    assert oldest_proof(sealed(9), shares=4) == NIGHT + timedelta(days=6)
    # With another number of shares, rows may have been passed over: only the first run is certain.
    assert oldest_proof([*sealed(9, shares=5)[:8], *sealed(9)[8:]], shares=4) == NIGHT
    assert oldest_proof(sealed(9, shares=1), shares=1) == NIGHT


def test_a_content_is_read_as_it_was_written() -> None:
    figures = LedgerFigures()
    lines = [
        Transfer("psp:stripe:receivable", "session:transit", 605, "EUR"),
        Transfer("session:transit", "cpo:NL-ABC:payable", 605, "EUR"),
    ]
    figures.add(kind="capture", currency="EUR", gross_minor=605, transfers=lines)
    figures.add(
        kind="psp_conversion",
        currency="EUR",
        gross_minor=100,
        transfers=[Transfer("fx:EUR-CHF:position", "psp:stripe:receivable", 100, "EUR")],
    )
    content = CheckpointContent(
        chains={0: ChainPosition(position=7, hash=bytes(32), documented=5, undocumented=(4,))},
        series={("platform", "DI-NL"): 12},
        figures=figures,
        shares=64,
        caller={"open": ["00"]},
    )
    again = CheckpointContent.from_text(content.to_text())
    assert again.to_text() == content.to_text()
    assert again.figures.captured == {"EUR": 605}
    assert again.figures.executed == {("fx:EUR-CHF:position", "EUR"): -100}
    assert again.figures.converted == {"EUR": -100}
    assert again.chains[0].undocumented == (4,)
