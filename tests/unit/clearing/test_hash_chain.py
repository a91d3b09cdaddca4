"""The hash chain: proofs hold, and nothing can be changed, moved or guessed."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from clearing.ledger import hash_chain
from clearing.ledger.journal_entry import Transfer

LINE = Transfer("session:transit", "cpo:NL-ABC:payable", 400, "EUR")
SUBJECT = UUID(int=7)


def test_an_entry_hash_worked_by_hand() -> None:
    blind = b"b" * 16
    line = sha256(b"\x02" + blind + b"session:transit\x1fcpo:NL-ABC:payable\x1f400\x1fEUR").digest()
    expected = sha256(b"\x00" + sha256(b"header").digest() + line).digest()
    assert hash_chain.hash_entry(b"header", [LINE], [blind]) == expected


def test_three_leaves_form_the_tree_of_rfc_6962() -> None:
    one, two, three = (bytes([place]) * 32 for place in (1, 2, 3))
    left = sha256(b"\x01" + one + two).digest()
    assert hash_chain.merkle_root([one, two, three]) == sha256(b"\x01" + left + three).digest()
    assert hash_chain.merkle_root([one]) == one


@given(count=st.integers(1, 70), data=st.data())
def test_every_leaf_proves_itself_and_no_other(count: int, data: st.DataObject) -> None:
    leaves = [sha256(bytes([place])).digest() for place in range(count)]
    place = data.draw(st.integers(0, count - 1))
    root = hash_chain.merkle_root(leaves)
    path = hash_chain.merkle_path(hash_chain.merkle_levels(leaves), place)
    assert hash_chain.root_from_path(leaves[place], path) == root
    assert hash_chain.root_from_path(b"x" * 32, path) != root


def test_blinds_differ_by_entry_line_and_key() -> None:
    def made(key: bytes, kind: str, reference: str) -> list[bytes]:
        return hash_chain.blinds(key, subject_id=SUBJECT, kind=kind, reference=reference, count=3)

    seen = [*made(b"k" * 32, "refund", "1"), *made(b"k" * 32, "refund", "2"), *made(b"l" * 32, "refund", "1")]
    assert len(set(seen)) == 9
    assert made(b"k" * 32, "refund", "1") == seen[:3]
    # What is blinded can't be guessed from its amount: the same line under two blinds has two hashes.
    assert hash_chain.transfer_hash(LINE, blind=seen[0]) != hash_chain.transfer_hash(LINE, blind=seen[1])


def test_a_batch_hash_depends_on_all_that_it_seals() -> None:
    base = {
        "previous": bytes(32),
        "root": b"r" * 32,
        "chain": 0,
        "position": 1,
        "booked_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    changes = {
        "previous": b"p" * 32,
        "root": b"s" * 32,
        "chain": 1,
        "position": 2,
        "booked_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    hashes = {hash_chain.batch_hash(**base)} | {
        hash_chain.batch_hash(**{**base, name: value}) for name, value in changes.items()
    }  # type: ignore[arg-type]
    assert len(hashes) == 6
