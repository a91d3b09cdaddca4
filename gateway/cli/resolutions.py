"""`networkcore reconcile resolve`, `approve` and the like: people decide what is booked.

Owns: the options and what is printed. Must not know what is booked for which resolution. Who decides is named
with `--by`: whoever can reach the database is trusted to name themselves.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import click

from clearing.approvals.request import ApprovalRequest
from clearing.approvals.rules import OF_DIFFERENCES, OF_SUSPENSE, ApprovalState, Resolution
from clearing.approvals.service import list_requests, set_limit
from clearing.reconciliation.comparison import ReconciliationPair
from clearing.reconciliation.resolution_service import ResolutionRequest
from clearing.services import build_clearing
from gateway.cli.clock import business_now
from gateway.cli.public_id import PublicId
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ids import format_id

_APPROVAL_REQUEST = "rdc"  # as the API shows requests and suspense items
_REASON = click.option("--reason", required=True, help="Why, for the record.")
_BY = click.option("--by", required=True, help="The person who decides.")
_PARTY = click.option("--party", help="With receivable_payment: the party that paid.")


@click.command(name="resolve")
@click.argument("pair", type=click.Choice([pair.value for pair in ReconciliationPair]))
@click.argument("reference")
@click.option(
    "--as",
    "how",
    required=True,
    type=click.Choice([one.value for one in OF_DIFFERENCES]),
    help="How it is booked.",
)
@click.option("--currency", help="Where one reference differs in several currencies.")
@click.option("--with", "related_references", multiple=True, help="Another reference of the same transfer.")
@_PARTY
@_REASON
@_BY
def resolve_command(
    *,
    pair: str,
    reference: str,
    how: str,
    currency: str | None,
    related_references: tuple[str, ...],
    party: str | None,
    reason: str,
    by: str,
) -> None:
    """Resolve the difference REFERENCE of PAIR, or propose it where a second person must approve."""

    async def work(connection: Connection) -> ApprovalRequest:
        difference_id = await build_clearing().resolutions.find_difference(
            connection, pair=pair, reference=reference, currency=currency
        )
        resolution = ResolutionRequest(
            resolution=Resolution(how),
            reason=reason,
            by=by,
            party_id=party,
            related_references=related_references,
        )
        return await build_clearing().resolutions.resolve(
            connection, difference_id, resolution, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile resolve"))


@click.command(name="approve")
@click.argument("request", type=PublicId(_APPROVAL_REQUEST))
@_BY
def approve_command(*, request: UUID, by: str) -> None:
    """Approve REQUEST. Only somebody else than its proposer can."""

    async def work(connection: Connection) -> ApprovalRequest:
        return await build_clearing().resolutions.approve(
            connection, request, by=by, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile approve"))


@click.command(name="reject")
@click.argument("request", type=PublicId(_APPROVAL_REQUEST))
@_BY
def reject_command(*, request: UUID, by: str) -> None:
    """Reject REQUEST. Its difference or receivable stays open."""

    async def work(connection: Connection) -> ApprovalRequest:
        return await build_clearing().resolutions.reject(
            connection, request, by=by, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile reject"))


@click.command(name="approvals")
@click.option("--state", type=click.Choice([state.value for state in ApprovalState]))
@as_json_option
def approvals_command(*, state: str | None, as_json: bool) -> None:
    """List approval requests, newest first."""

    async def work(connection: Connection) -> Sequence[ApprovalRequest]:
        return await list_requests(
            connection, state=None if state is None else ApprovalState(state), limit=1000
        )

    found = in_transaction(work, command="reconcile approvals")
    show_rows(
        [_approval_row(one) for one in found],
        title="Approval requests",
        none="There are no approval requests." if state is None else f"No approval request is {state}.",
        as_json=as_json,
    )


@click.command(name="suspense")
@as_json_option
def suspense_command(*, as_json: bool) -> None:
    """List suspense items, oldest first."""

    async def work(connection: Connection) -> list[dict[str, Any]]:
        return [
            {
                "id": format_id(_APPROVAL_REQUEST, one.id),
                "remaining_minor": one.remaining_minor,
                "currency": one.currency,
                "age_days": one.age_days,
                "owner": one.owner,
                "detail": one.detail,
            }
            for one in await build_clearing().resolutions.list_suspense(
                connection, now=await business_now(connection)
            )
        ]

    rows = in_transaction(work, command="reconcile suspense")
    show_rows(rows, title="Suspense items", none="There are no suspense items.", as_json=as_json)


@click.command(name="clear-suspense")
@click.argument("item", type=PublicId(_APPROVAL_REQUEST))
@click.option("--as", "how", required=True, type=click.Choice([one.value for one in OF_SUSPENSE]))
@click.option("--amount", type=int, help="Minor units with the item's sign; default: all that remains.")
@_PARTY
@_REASON
@_BY
def clear_command(
    *, item: UUID, how: str, amount: int | None, party: str | None, reason: str, by: str
) -> None:
    """Clear the suspense item ITEM."""

    async def work(connection: Connection) -> ApprovalRequest:
        resolution = ResolutionRequest(resolution=Resolution(how), reason=reason, by=by, party_id=party)
        return await build_clearing().resolutions.clear(
            connection, item, resolution, minor=amount, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile clear-suspense"))


@click.command(name="offset-suspense")
@click.argument("item", type=PublicId(_APPROVAL_REQUEST))
@click.argument("other", type=PublicId(_APPROVAL_REQUEST))
@_REASON
@_BY
def offset_command(*, item: UUID, other: UUID, reason: str, by: str) -> None:
    """Offset suspense item ITEM against OTHER, the other side of the same transfer. Both leave suspense."""

    async def work(connection: Connection) -> ApprovalRequest:
        return await build_clearing().resolutions.offset(
            connection, item, other, reason=reason, by=by, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile offset-suspense"))


@click.command(name="approval-limit")
@click.argument("currency")
@click.argument("minor", type=click.IntRange(min=0))
@_BY
def approval_limit_command(*, currency: str, minor: int, by: str) -> None:
    """Require a second person above MINOR minor units of CURRENCY. With 0 every booking requires one."""

    async def work(connection: Connection) -> None:
        await set_limit(connection, currency, minor, by=by, now=await business_now(connection))

    in_transaction(work, command="reconcile approval-limit")
    click.echo(f"above {minor} {currency} (minor units) a second person must approve")


@click.command(name="receivables")
@as_json_option
def receivables_command(*, as_json: bool) -> None:
    """List receivables by age."""

    async def work(connection: Connection) -> list[dict[str, Any]]:
        now = await business_now(connection)
        return [
            {
                "party": one.party_id,
                "receivable_minor": one.receivable_minor,
                "currency": one.currency,
                "age_days": one.age_days,
                "by_age": dict(one.buckets),
            }
            for one in await build_clearing().receivables.list_receivables(connection, now=now)
        ]

    rows = in_transaction(work, command="reconcile receivables")
    show_rows(rows, title="Receivables", none="No party owes anything.", as_json=as_json)


@click.command(name="set-off-consent")
@click.argument("party")
@click.option("--on", "day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The day of its consent.")
@click.option("--evidence", required=True, help="Where the party's consent is filed.")
@_BY
def set_off_consent_command(*, party: str, day: datetime, evidence: str, by: str) -> None:
    """Record PARTY's consent to setting off its receivables against its payables."""

    async def work(connection: Connection) -> None:
        await build_clearing().receivables.record_set_off_consent(
            connection, party, agreed_on=day.replace(tzinfo=UTC).date(), evidence=evidence, by=by
        )

    in_transaction(work, command="reconcile set-off-consent")
    click.echo(f"consent of {party} on {day:%Y-%m-%d} is recorded")


@click.command(name="end-set-off-consent")
@click.argument("party")
@click.option("--on", "day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Day of the consent.")
def end_set_off_consent_command(*, party: str, day: datetime) -> None:
    """End PARTY's consent to set-off, and any earlier one, today."""

    async def work(connection: Connection) -> None:
        await build_clearing().receivables.end_set_off_consent(
            connection,
            party,
            agreed_on=day.replace(tzinfo=UTC).date(),
            now=await business_now(connection),
        )

    in_transaction(work, command="reconcile end-set-off-consent")
    click.echo(f"The consent of {party} has ended.")


@click.command(name="set-off")
@click.argument("party")
@click.option("--currency", required=True, help="Of the receivable.")
@click.option("--from", "source", required=True, help="Currency of the payables that pay it.")
@_REASON
@_BY
def set_off_command(*, party: str, currency: str, source: str, reason: str, by: str) -> None:
    """Set off PARTY's receivable against its payables in another currency. Requires its consent."""

    async def work(connection: Connection) -> ApprovalRequest:
        return await build_clearing().receivables.set_off(
            connection,
            party,
            currency=currency,
            from_currency=source,
            reason=reason,
            by=by,
            now=await business_now(connection),
        )

    _show_approval(in_transaction(work, command="reconcile set-off"))


@click.command(name="write-off")
@click.argument("party")
@click.option("--currency", required=True, help="Of the receivable.")
@_REASON
@_BY
def write_off_command(*, party: str, currency: str, reason: str, by: str) -> None:
    """Propose to write off PARTY's receivable. A second person books it with `approve`."""

    async def work(connection: Connection) -> ApprovalRequest:
        return await build_clearing().receivables.write_off(
            connection, party, currency=currency, reason=reason, by=by, now=await business_now(connection)
        )

    _show_approval(in_transaction(work, command="reconcile write-off"))


COMMANDS: tuple[click.Command, ...] = (
    resolve_command,
    approve_command,
    reject_command,
    approvals_command,
    suspense_command,
    clear_command,
    offset_command,
    approval_limit_command,
    receivables_command,
    set_off_consent_command,
    end_set_off_consent_command,
    set_off_command,
    write_off_command,
)


def _approval_row(one: ApprovalRequest) -> dict[str, Any]:
    return {
        "id": format_id(_APPROVAL_REQUEST, one.id),
        "state": one.state.value,
        "resolution": one.resolution.value,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "subject": one.subject,
        "reference": one.reference.replace("\x1f", " + "),
        "proposed_by": one.proposed_by,
        "reason": one.reason,
    }


def _show_approval(one: ApprovalRequest) -> None:
    row = _approval_row(one)
    waits = ", a second person must approve it" if one.state is ApprovalState.PENDING else ""
    click.echo(
        f"{row['id']}  {row['state']}{waits}  {row['resolution']} of {one.amount_minor} {one.currency}  "
        f"{one.subject} {row['reference']}  {one.proposed_by}: {one.reason}"
    )
