"""A run of the daily audit under way, and what it says about itself when it ends.

Owns: what a run goes on from, what it counts, which check rests on the checkpoint. Must not know: how rows
are read or proved.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from clearing.audit import AuditFinding, shown_subject
from clearing.captured_session import MAX_SHARD
from clearing.daily_audit.checkpoint import (
    ChainPosition,
    CheckpointContent,
    RecheckShare,
    SealedCheckpoint,
    oldest_proof,
)
from clearing.daily_audit.figures import LedgerFigures

SHARDS: Final = MAX_SHARD + 1
_OF_ENTRIES: Final = frozenset(
    {
        "checkpoint",
        "hash_chain",
        "fx_lock",
        "transit_not_zero",
        "captures_unposted",
        "supplies_unequal",
        "payables_unequal",
        "deltas_unequal",
        "documents_unequal",
    }
)
_OF_SHARDS: Final = frozenset({"orphan_transfers", "orphan_payables", "orphan_entries"})
_OF_BALANCES: Final = frozenset(
    {"balances_unequal", "snapshots_unequal", "open_unequal", "suspense_unequal", "approvals_unposted"}
)
_OF_DISBURSEMENTS: Final = frozenset(
    {"disbursements_unequal", "disbursements_unposted", "returned_unequal", "statements_unequal"}
)
_OF_DOCUMENTS: Final = frozenset({"documents_gapped", "documents_altered"})
CHECKS: Final = tuple(sorted(_OF_ENTRIES | _OF_SHARDS | _OF_BALANCES | _OF_DISBURSEMENTS | _OF_DOCUMENTS))


class StepPart(StrEnum):
    """Whether a step's batches are new, older ones proved again, or proved but for their documents."""

    NEW = "new"
    AGAIN = "again"
    DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """Batches of one chain that are proved together."""

    part: StepPart
    chain: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyCheck:
    """What a group of checks compared in this run, and what it took from the checkpoint; empty: nothing."""

    name: str
    compared: str
    rests_on: str
    checks: frozenset[str]


@dataclass(slots=True, kw_only=True)
class LedgerRun:
    """A run under way: what it goes on from, and what it found so far. An accumulator.

    `share` None: the first run, which proves everything.
    """

    checkpoints: Sequence[SealedCheckpoint]
    before: CheckpointContent
    shares: int
    share: RecheckShare | None
    heads: dict[int, int]
    documented: Mapping[int, int]
    pending: Mapping[int, Sequence[int]]
    figures: LedgerFigures
    positions: dict[int, ChainPosition] = field(default_factory=dict)
    findings: list[AuditFinding] = field(default_factory=list)
    disbursements: set[UUID] = field(default_factory=set)
    series: Mapping[tuple[str, str], int] = field(default_factory=dict)
    batches: dict[StepPart, int] = field(default_factory=Counter)
    entries: dict[StepPart, int] = field(default_factory=Counter)
    shards: list[int] = field(default_factory=list)
    proved_disbursements: int = 0

    @property
    def sequence(self) -> int:
        """The number of the checkpoint that this run would seal."""
        return self.checkpoints[-1].sequence + 1 if self.checkpoints else 1

    @property
    def last(self) -> SealedCheckpoint | None:
        """The checkpoint that this run goes on from."""
        return self.checkpoints[-1] if self.checkpoints else None

    def find(self, check: str, subject: str, detail: str) -> None:
        """Note what does not hold."""
        self.findings.append(AuditFinding(check=check, subject=shown_subject(check, subject), detail=detail))


def describe(run: LedgerRun) -> list[DailyCheck]:
    """What each group of checks compared in this run, and what rests on the checkpoint."""
    last = run.last
    share = "" if run.share is None else f"share {run.share.number} of {run.share.of}"
    older = ""
    if last is not None:
        since = oldest_proof(run.checkpoints, shares=run.shares)
        older = (
            f"older rows: checkpoint {last.sequence} of {last.sealed_at:%Y-%m-%d %H:%M}; "
            f"each was proved since {since:%Y-%m-%d %H:%M}"
        )
    again = f" and {run.batches[StepPart.AGAIN]} older ones ({share}) again" if last else ""
    return [
        DailyCheck(
            name="ledger_entries",
            checks=_OF_ENTRIES,
            compared=(
                f"{run.batches[StepPart.NEW]} new batches ({run.entries[StepPart.NEW]} entries){again}: "
                "hashes, transfers, payables, deltas, exchange, supplies, drivers' documents"
            ),
            rests_on=older,
        ),
        DailyCheck(
            name="ledger_balances",
            checks=_OF_BALANCES,
            compared=(
                f"{len(run.figures.accounts())} balances, all open payables, suspense, approvals and the "
                "equation of each currency"
            ),
            rests_on=f"entries before checkpoint {last.sequence} by its figures" if last else "",
        ),
        DailyCheck(
            name="ledger_disbursements",
            checks=_OF_DISBURSEMENTS,
            compared=f"{run.proved_disbursements} disbursements with payables, entries and statements",
            rests_on=older,
        ),
        DailyCheck(
            name="ledger_shards",
            checks=_OF_SHARDS,
            compared=f"{len(run.shards)} of {SHARDS} shards: no row without the row that it belongs to",
            rests_on="" if len(run.shards) == SHARDS else f"the other shards, new rows too; {older}",
        ),
        DailyCheck(
            name="ledger_documents",
            checks=_OF_DOCUMENTS,
            compared=f"numbers and contents of new documents{f' and of {share}' if share else ''}",
            rests_on=older,
        ),
    ]
