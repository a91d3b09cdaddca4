"""What an exception is: what a person does about each kind, and how the queue follows its causes.

Owns: the text of the next step, the comparison of the queue with the causes found. Must not know SQL, the
clock, or how a retry is done.

A new kind needs three small things: a name in `ExceptionKind` (gateway/exception_kinds.py) with its
`KindSpec` in `KINDS`; a source that finds its open causes (a branch of `found` in gateway/sql/exceptions.sql,
or a list of clearing/reporting/open_items.py); and, where the machine can try again, an action in
`gateway/exceptions/actions.py`. Nothing else lists kinds: the command line, the API, the status and the
metrics read `KINDS`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from gateway.exception_kinds import ExceptionKind, ExceptionState

SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpec:
    """One kind. `prefix` makes the public id of a subject that has a UUID.

    `retry` says in a few words what resolving does; None: only the cause's own command ends it, or, where the
    cause is `final` and nothing can mend it, a person's reason. In `next_step` and `command` {subject},
    {party} and {exception} stand for the exception's own.
    """

    title: str
    owner: str
    prefix: str | None
    retry: str | None
    next_step: str
    command: str
    final: bool = False


_RESOLVE: Final = "networkcore exceptions resolve {exception}"
KINDS: Final[Mapping[ExceptionKind, KindSpec]] = MappingProxyType(
    {
        ExceptionKind.UNCLEARED_SESSION: KindSpec(
            title="Sessions that could not be cleared",
            owner="clearing",
            prefix="ses",
            retry="clear the session again",
            next_step="Mend what the reason names (register the party, agreement or rate; refund what was "
            "captured too much), then clear the session again.",
            command=_RESOLVE,
        ),
        ExceptionKind.UNPAID_SESSION: KindSpec(
            title="Completed sessions that nobody has paid",
            owner="payments",
            prefix="ses",
            retry=None,
            next_step="Ask {party} to pay for the session, or bear it, and record what was agreed.",
            command=_RESOLVE,
            final=True,
        ),
        ExceptionKind.UNMATCHED_CDR: KindSpec(
            title="CDRs that wait",
            owner="operations",
            prefix=None,
            retry="replay the CDR",
            next_step="Mend what the reason names (the session it belongs to, its tariff, or the CDR at its "
            "CPO), then replay it.",
            command=_RESOLVE,
        ),
        ExceptionKind.FAILED_CDR_CHECK: KindSpec(
            title="CDRs and usage that failed a check",
            owner="operations",
            prefix="usg",
            retry="decide about the usage",
            next_step="Ask {party} about what the reason names. Then take the usage as it is, take the lower "
            "amount, set an amount, reject it (the hold stays for a corrected CDR), or release the hold.",
            command="networkcore exceptions resolve {exception} --action take_lower",
        ),
        ExceptionKind.UNAPPLIED_CREDIT: KindSpec(
            title="Credit CDRs that a person must apply",
            owner="operations",
            prefix=None,
            retry=None,
            next_step="Agree with {party} on what is credited, refund that with POST /v1/refunds, then "
            "record it.",
            command=_RESOLVE,
            final=True,
        ),
        ExceptionKind.REJECTED_CDR: KindSpec(
            title="CDRs that were read from a list and rejected",
            owner="operations",
            prefix=None,
            retry=None,
            next_step="Ask {party} to correct the CDR, or agree that it is not paid and record what was "
            "agreed. A corrected CDR of the same id ends this by itself.",
            command=_RESOLVE,
            final=True,
        ),
        ExceptionKind.FAILED_TASK: KindSpec(
            title="Tasks that stopped after repeated failures",
            owner="operations",
            prefix="tsk",
            retry="run the task again",
            next_step="Mend what the last error names, then run the task again.",
            command=_RESOLVE,
        ),
        ExceptionKind.UNKNOWN_PSP_OUTCOME: KindSpec(
            title="PSP requests without a known outcome",
            owner="payments",
            prefix="psr",
            retry="ask the PSP now",
            next_step="Look the payment up at the PSP. Only its own answer ends the request: ask again, and "
            "call the PSP if it gives none.",
            command=_RESOLVE,
        ),
        ExceptionKind.PSP_CONFIGURATION: KindSpec(
            title="Requests that the PSP refuses for our configuration",
            owner="operations",
            prefix=None,
            retry="take it as mended; the next refusal opens it again",
            next_step="Mend what the detail names: the PSP's key, its permissions, what the account has "
            "activated, or the settings. Holds are refused with 503 until then; captures, refunds and "
            "payouts wait and are sent again. Then resolve.",
            command=_RESOLVE,
        ),
        ExceptionKind.UNBOOKED_CHARGE: KindSpec(
            title="Money at the PSP that is in no book",
            owner="payments",
            prefix=None,
            retry="carry out the action",
            next_step="Find out who captured {subject} at the PSP. Then adopt it (it becomes the capture "
            "of its session, at the price of its CDR), refund it at the PSP, or leave it to the "
            "reconciliation where it is no session's.",
            command="networkcore exceptions resolve {exception} --action refund",
        ),
        ExceptionKind.TOPUP_NOT_ARRIVED: KindSpec(
            title="Top-ups that failed, were taken back, or are late",
            owner="treasury",
            prefix="top",
            retry=None,
            next_step="Ask the bank why. Top up again under another reference if the money is still "
            "needed; where {party} has spent a top-up that was taken back, agree on how it is repaid. Then "
            "record it.",
            command=_RESOLVE,
            final=True,
        ),
        ExceptionKind.DISPUTE_RESPONSE: KindSpec(
            title="Disputes that wait for evidence",
            owner="payments",
            prefix="dsp",
            retry=None,
            next_step="Submit the receipt, the meter record, time and place before the due date, or accept "
            "the loss. Evidence is submitted once.",
            command="POST /v1/disputes/{subject}/evidence, or POST /v1/disputes/{subject}/accept",
        ),
        ExceptionKind.UNKNOWN_DISBURSEMENT_OUTCOME: KindSpec(
            title="Disbursements without a known outcome",
            owner="treasury",
            prefix="dis",
            retry=None,
            next_step="Ask the PSP or the bank what became of it. Its answer or the bank's message ends it; "
            "it is never sent twice.",
            command="networkcore reconcile import-statement FILE",
        ),
        ExceptionKind.RECONCILIATION_DIFFERENCE: KindSpec(
            title="Reconciliation differences",
            owner="finance",
            prefix="rdf",
            retry=None,
            next_step="Check the proposal and resolve the difference. Above the limit a second person "
            "approves it.",
            command="POST /v1/reconciliation/differences/{subject}/resolve, or networkcore reconcile resolve",
        ),
        ExceptionKind.DOCUMENT_EXCEPTION: KindSpec(
            title="Documents that could not be issued",
            owner="finance",
            prefix=None,
            retry="issue the document",
            next_step="Complete the data that the reason names with POST /v1/parties. The document is issued "
            "within minutes then, or when you resolve this.",
            command=_RESOLVE,
        ),
        ExceptionKind.PENDING_DRIVER_DOCUMENTS: KindSpec(
            title="Drivers' documents that lack something",
            owner="finance",
            prefix=None,
            retry="issue the documents",
            next_step="Complete the data of {party} that the reason names with POST /v1/parties. The "
            "documents are issued within seconds then, or when you resolve this.",
            command=_RESOLVE,
        ),
        ExceptionKind.PAYOUT_HOLD: KindSpec(
            title="Payout holds",
            owner="treasury",
            prefix="hld",
            retry="lift the hold",
            next_step="Check the reason with the party, then lift the hold. Some holds only a second person "
            "may lift.",
            command=_RESOLVE,
        ),
        ExceptionKind.UNPAYABLE_ACCOUNT: KindSpec(
            title="Parties that the PSP can't pay",
            owner="treasury",
            prefix="hld",
            retry=None,
            next_step="Read what the PSP requires of {party}, send it an onboarding link, or take its bank "
            "details instead. The hold is lifted by itself when the PSP can pay the account.",
            command="GET /v1/parties/{party}/connected-account, then POST "
            "/v1/parties/{party}/connected-account/links",
        ),
        ExceptionKind.UNCHECKED_PARTY: KindSpec(
            title="Parties not paid because of their checks",
            owner="treasury",
            prefix="hld",
            retry=None,
            next_step="Do the check of {party} that the detail names and record it. A payee name that did "
            "not match is confirmed by a second person. The hold is lifted by itself then.",
            command="POST /v1/parties/{party}/checks",
        ),
        ExceptionKind.LAPSING_PARTY_CHECK: KindSpec(
            title="Checks of parties that lapse within a week, or have lapsed",
            owner="treasury",
            prefix="pck",
            retry=None,
            next_step="Do the check again and record it; replace the file of an old sanctions list. Parties "
            "that need a lapsed check are not paid.",
            command="POST /v1/parties/{party}/checks",
        ),
        ExceptionKind.APPROVAL_REQUEST: KindSpec(
            title="Approval requests that wait for a second person",
            owner="finance",
            prefix="rdc",
            retry=None,
            next_step="Check the booking against its reason. Another person than the proposer approves or "
            "rejects it.",
            command="POST /v1/approval-requests/{subject}/approve or /reject",
        ),
        ExceptionKind.DISBURSEMENT_APPROVAL: KindSpec(
            title="Disbursements that wait for approval",
            owner="treasury",
            prefix="dis",
            retry=None,
            next_step="Check the disbursement to {party}. Two people approve it, each with an API key of "
            "their own; to stop it, hold the party's payouts.",
            command="POST /v1/disbursements/{subject}/approve",
        ),
        ExceptionKind.PENDING_BANK_DETAILS: KindSpec(
            title="Bank details that wait for a second person",
            owner="treasury",
            prefix=None,
            retry=None,
            next_step="Ask {party} over another channel whether the account is its own. Another person than "
            "the submitter approves or rejects it.",
            command="GET /v1/parties/{party}/bank-details, then POST .../VERSION/approve or /reject",
        ),
        ExceptionKind.OLD_SUSPENSE: KindSpec(
            title="Suspense items older than a week",
            owner="finance",
            prefix="rdc",
            retry=None,
            next_step="Find out what the money is for, then clear the item or offset it against another.",
            command="networkcore reconcile clear-suspense {subject}",
        ),
        ExceptionKind.UNSENT_PAYMENT_FILE: KindSpec(
            title="Payment files that were not sent",
            owner="treasury",
            prefix=None,
            retry=None,
            next_step="Check the outbox directory and its log. If you send the file yourself, send its bytes "
            "unchanged and mark it as sent.",
            command="GET /v1/payment-files/{subject}, then POST /v1/payment-files/{subject}/mark-sent",
        ),
        ExceptionKind.REJECTED_BANK_MESSAGE: KindSpec(
            title="Bank messages that could not be imported",
            owner="treasury",
            prefix=None,
            retry=None,
            next_step="Ask the bank for a correct message and import it, then record that here. If the same "
            "file can be imported later, the exception ends by itself.",
            command=_RESOLVE,
            final=True,
        ),
        ExceptionKind.FAILING_OCPI_PULL: KindSpec(
            title="OCPI pulls that keep failing, or lists that end too early",
            owner="operations",
            prefix=None,
            retry="pull the list now",
            next_step="Check the platform of {party} and its credentials, then pull again.",
            command="networkcore ocpi pull {party}",
        ),
        ExceptionKind.UNDELIVERED_OCPI_MESSAGE: KindSpec(
            title="OCPI messages that could not be delivered",
            owner="operations",
            prefix="msg",
            retry="send the message again",
            next_step="Check the platform of {party} and its credentials, then send the message again.",
            command=_RESOLVE,
        ),
        ExceptionKind.FAILING_WEBHOOK_ENDPOINT: KindSpec(
            title="Webhook endpoints that keep failing",
            owner="partner_support",
            prefix="whe",
            retry="enable the endpoint with a fresh start",
            next_step="Ask {party} to mend its receiver, then enable the endpoint; no pending event is lost.",
            command=_RESOLVE,
        ),
        ExceptionKind.CHANGED_METER_KEY: KindSpec(
            title="Changed keys of known meters",
            owner="operations",
            prefix="mtk",
            retry=None,
            next_step="Ask {party} why the key changed, and compare it with the manufacturer's or the "
            "authority's list. A second person accepts or rejects it.",
            command="networkcore meter accept {subject}",
        ),
        ExceptionKind.UNAPPLIED_POOL_EVENT: KindSpec(
            title="Contract pool events that could not be applied",
            owner="partner_support",
            prefix="cpe",
            retry="apply the event again",
            next_step="Ask {party} to mend what the reason names, then apply the event again. One that no "
            "longer counts is dismissed: POST /v1/plug-and-charge/contract-pool-events/{subject}/dismiss.",
            command=_RESOLVE,
        ),
        ExceptionKind.AUDIT_DIFFERENCE: KindSpec(
            title="Audits that found a difference, or could not compare everything",
            owner="finance",
            prefix=None,
            retry=None,
            next_step="Run the audit again: its checks, which the detail names, say the ids of what differs. "
            "An audit that agrees ends this.",
            command="networkcore audit",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundException:
    """An open cause, as its source has it. `since` is business time; `amount_minor` goes with `currency`."""

    kind: ExceptionKind
    subject_id: str
    owner: str
    party_id: str | None
    amount_minor: int | None
    currency: str | None
    reason: str
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionRecord:
    """A row of the queue. `limit_hours`: the age limit that was set for its kind; None: the default."""

    id: UUID
    kind: ExceptionKind
    subject_id: str
    state: ExceptionState
    owner: str
    assignee: str | None
    party_id: str | None
    amount_minor: int | None
    currency: str | None
    reason: str
    detail: str
    since: datetime
    opened_at: datetime
    resolved_at: datetime | None
    limit_hours: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChanges:
    """What brings the queue in step with its causes."""

    opened: Sequence[FoundException]
    changed: Sequence[tuple[ExceptionRecord, FoundException]]
    gone: Sequence[ExceptionRecord]
    acknowledged_gone: Sequence[tuple[str, str]]


_MAY_CHANGE: Final = ("owner", "amount_minor", "currency", "reason", "detail")


def compare(
    queue: Sequence[ExceptionRecord],
    found: Sequence[FoundException],
    *,
    acknowledged: AbstractSet[tuple[str, str]] = frozenset(),
) -> QueueChanges:
    """What to open, change and resolve; `queue` holds the open exceptions.

    A subject is open at most once per kind, and not again while the cause that was `acknowledged` is there.
    Once that cause is gone, the next one opens a new exception.
    """
    causes: dict[tuple[ExceptionKind, str], FoundException] = {}
    present = {(cause.kind.value, cause.subject_id) for cause in found}
    for cause in found:
        if (cause.kind.value, cause.subject_id) not in acknowledged:
            causes.setdefault((cause.kind, cause.subject_id), cause)
    known = {(one.kind, one.subject_id): one for one in queue}
    return QueueChanges(
        opened=[cause for key, cause in causes.items() if key not in known],
        changed=[
            (one, causes[key]) for key, one in known.items() if key in causes and _differs(one, causes[key])
        ],
        gone=[one for key, one in known.items() if key not in causes],
        acknowledged_gone=sorted(acknowledged - present),
    )


def _differs(one: ExceptionRecord, cause: FoundException) -> bool:
    return any(getattr(one, name) != getattr(cause, name) for name in _MAY_CHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What a person does about an exception: in words, and the command or request that does it."""

    text: str
    command: str


def next_step(one: ExceptionRecord, *, public_id: str) -> NextStep:
    """The next step of an exception that is called `public_id` outside."""
    spec = KINDS[one.kind]
    names = {"subject": one.subject_id, "party": one.party_id or "the party", "exception": public_id}
    return NextStep(text=spec.next_step.format(**names), command=spec.command.format(**names))


def may_be_acknowledged(one: ExceptionRecord) -> bool:
    """Whether a person's reason alone ends it."""
    return KINDS[one.kind].final
