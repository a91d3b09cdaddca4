"""The daily audit of sessions and funded accounts: corrections of old ones agree, a changed row is found."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.audit.checks import AuditResult
from gateway.audit.daily_audit import DailyAudit, audit_daily
from gateway.clock import Clock
from tests.integration.test_dispute_states import INQUIRY, OPENED, cleared
from tests.integration.test_payments import System
from tests.integration.test_rare_payments import hear, system

__all__ = ["system"]
SHARES = 8
LONG_AGO = timedelta(days=30)


class Later:
    """A month later by wall time."""

    def __init__(self, system: System) -> None:
        self.system = system

    def now(self) -> datetime:
        return self.system.clock.now()

    def wall_now(self) -> datetime:
        return datetime.now(UTC) + LONG_AGO


async def daily(system: System, *, shares: int = SHARES, clock: Clock | None = None) -> DailyAudit:
    return await audit_daily(system.pool, clock=clock or system.clock, psp=None, shares=shares)


async def test_a_dispute_of_an_old_session_agrees_and_is_compared_again(system: System) -> None:
    view, corrections = await cleared(system)
    first = await daily(system)
    assert first.audit.ok, first.audit.all_findings
    await hear(system, view, INQUIRY, INQUIRY)
    await hear(system, view, OPENED, OPENED)
    await corrections.run_once()
    second = await daily(system)
    assert second.audit.ok, second.audit.all_findings
    assert second.rests_on == first.checkpoint
    await system.pool.execute("UPDATE gateway.dispute SET withdrawn_minor = withdrawn_minor - 1")
    third = await daily(system)
    assert "captures_equal_postings" in {one.check for one in third.audit.findings}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ("capture SET amount_minor = amount_minor - 1", "captured_is_price"),
        ("capture SET amount_minor = amount_minor - 1", "captures_equal_postings"),
        ("payment_authorization SET state = 'voided'", "capture_matches_authorization"),
        ("session SET state = 'completed'", "capture_is_cleared"),
    ],
)
async def test_a_changed_old_session_is_found_in_the_turn_of_its_shard(
    system: System, change: str, check: str
) -> None:
    view, _ = await cleared(system)
    assert (await daily(system)).audit.ok
    # Long after the session began: those begun since the checkpoint are compared in each run.
    later = Later(system)
    assert (await daily(system, clock=later)).audit.ok
    await system.pool.execute(f"UPDATE gateway.{change}")
    shard = view.session.shard
    found: list[set[str]] = []
    for _ in range(SHARES):
        run = await daily(system, clock=later)
        found.append({one.check for one in run.audit.all_findings})
        if found[-1]:
            break
    assert check in found[-1], found
    # After two checkpoints the next run proves the shards of share 2, and so on.
    assert len(found) == (shard % SHARES - 2) % SHARES + 1, "in the turn of its shard, not before"


async def test_a_changed_funded_account_is_found_in_its_turn(system: System) -> None:
    await system.pool.execute(
        "INSERT INTO gateway.partner_account (party_id, currency) VALUES ('parking', 'EUR')"
    )
    assert (await daily(system, shares=2)).audit.ok
    await system.pool.execute("UPDATE gateway.partner_account SET balance_minor = 1")
    runs = [await daily(system, shares=2) for _ in range(2)]
    found = [one.check for run in runs for one in run.audit.findings]
    assert "funded_account" in found
    assert any(run.audit.result is AuditResult.DIFFERS for run in runs)
