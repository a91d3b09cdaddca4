"""Where a person can go: the console's sections, by what their role reads.

Owns: the order of the sections and which operation opens each. Must not know any page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.console.calls import ConsoleCalls
from gateway.people.roles import ActArea


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: the key of its text, its path, the operation that its role must be able to read."""

    key: str
    path: str
    operation: str
    platform_only: bool = False
    area: ActArea | None = None
    starts_group: bool = False


SECTIONS: Final[Sequence[Section]] = (
    Section(key="nav.home", path="/console", operation="listSessions"),
    Section(key="nav.sessions", path="/console/sessions", operation="listSessions"),
    Section(key="nav.payments", path="/console/payments", operation="listAuthorizations"),
    Section(key="nav.disputes", path="/console/disputes", operation="listDisputes"),
    Section(key="nav.payouts", path="/console/payouts", operation="listDisbursements"),
    Section(key="nav.flow", path="/console/flow", operation="getSummary", platform_only=True),
    Section(key="nav.exceptions", path="/console/exceptions", operation="listExceptions", starts_group=True),
    Section(key="nav.approvals", path="/console/approvals", operation="listApprovalRequests"),
    Section(
        key="nav.reconciliation", path="/console/reconciliation", operation="listReconciliationDifferences"
    ),
    Section(key="nav.ledger", path="/console/ledger", operation="listTreasuryBalances"),
    Section(key="nav.documents", path="/console/documents", operation="listDocuments"),
    Section(
        key="nav.webhooks", path="/console/webhooks", operation="listWebhookEndpoints", starts_group=True
    ),
    Section(key="nav.api_keys", path="/console/keys", operation="listApiKeys"),
    Section(key="nav.requests", path="/console/requests", operation="listRequests"),
    Section(key="nav.events", path="/console/events", operation="listEvents"),
    Section(key="nav.operators", path="/console/operators", operation="listEvses", starts_group=True),
    Section(key="nav.plug_and_charge", path="/console/plug-and-charge", operation="listTrustedRoots"),
    Section(key="nav.parties", path="/console/parties", operation="listParties", starts_group=True),
    Section(key="nav.operations", path="/console/operations", operation="getSummary", platform_only=True),
    Section(key="nav.people", path="/console/people", operation="listSessions", area=ActArea.PEOPLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationItem:
    """A section as a page shows it."""

    key: str
    path: str
    current: bool
    first: bool = False


def navigation(calls: ConsoleCalls, path: str) -> list[NavigationItem]:
    """The sections that a person sees; the one that the path is in is current."""
    shown = [
        section
        for section in SECTIONS
        if calls.may_read(section.operation)
        and (calls.platform or not section.platform_only)
        and (section.area is None or calls.may_act(section.area))
    ]
    inside = [one.path for one in shown if path == one.path or path.startswith(f"{one.path}/")]
    current = max(inside, key=len, default="")
    return [
        NavigationItem(
            key=section.key,
            path=section.path,
            current=section.path == current,
            first=section.starts_group,
        )
        for section in shown
    ]
