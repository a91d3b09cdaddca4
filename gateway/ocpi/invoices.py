"""The module invoicereconciliation of 2.3.0 as receiver: which CDRs a CPO has put on which invoice.

Owns: keeping the records, and comparing them with the CDRs that we have. Must not know: the invoice itself.
Source: OCPI 2.3.0 mod_invoice_reconciliation, Receiver Interface, direct billing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.database import Connection, transaction
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.repository import payments
from gateway.ocpi.repository.payments import InvoiceRecord
from gateway.ocpi.request_bodies import (
    Tree,
    check_identifier,
    encode,
    identifier,
    moment,
    same_identifier,
    shown,
    text,
)

_NAME: Final = "invoice reconciliation record"
_MAX_CDRS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """How an invoice's CDRs compare with ours.

    Each list holds CDR ids in lower case, in the record's order.
    """

    completed: Sequence[str]
    waiting: Sequence[str]
    unknown: Sequence[str]
    credited: Sequence[str]
    invoiced_twice: Sequence[str]

    @property
    def agrees(self) -> bool:
        """Whether every CDR on the invoice is completed, none credited, none on another invoice as well."""
        return not (self.waiting or self.unknown or self.credited or self.invoiced_twice)


async def reconcile(connection: Connection, *, party_id: str, record_id: str) -> Reconciliation | None:
    """Compare an invoice record with the CDRs that we have; None when there is no such record."""
    found = await payments.reconcile_invoice(connection, party_id=party_id, record_id=record_id)
    if not found:
        return None
    return Reconciliation(
        completed=[cdr.cdr_key for cdr in found if cdr.status == "completed"],
        waiting=[cdr.cdr_key for cdr in found if cdr.status not in {None, "completed"}],
        unknown=[cdr.cdr_key for cdr in found if cdr.status is None],
        credited=[cdr.cdr_key for cdr in found if cdr.credited],
        invoiced_twice=[cdr.cdr_key for cdr in found if cdr.elsewhere],
    )


async def post_invoice(call: OcpiRequest) -> OcpiResponse:
    """POST a new record, its owner in the body."""
    tree = call.body(_NAME).tree
    party = call.own_party(text(tree, "country_code", limit=2), text(tree, "party_id", limit=3))
    return await _keep(call, tree, party=party)


async def put_invoice(call: OcpiRequest) -> OcpiResponse:
    """PUT a changed record."""
    party, tree = call.party(), call.body(_NAME).tree
    same_identifier(tree, "id", call.segment("object_id"))
    if call.own_party(text(tree, "country_code", limit=2), text(tree, "party_id", limit=3)) != party:
        raise OcpiRejectionError("$.party_id: expected the party of the URL")
    return await _keep(call, tree, party=party)


async def get_invoice(call: OcpiRequest) -> OcpiResponse:
    """GET a record as it is kept here."""
    party, record_id = call.party(), call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        found = await payments.load_invoice(connection, party_id=party, record_id=record_id)
    if found is None:
        raise _unknown(record_id)
    return OcpiResponse(data=msgspec.Raw(found))


async def delete_invoice(call: OcpiRequest) -> OcpiResponse:
    """DELETE a record that was an error."""
    party, record_id = call.party(), call.segment("object_id")
    async with transaction(call.services.pool) as connection:
        deleted = await payments.delete_invoice(
            connection, party_id=party, record_id=record_id, now=call.services.clock.now()
        )
    if not deleted:
        raise _unknown(record_id)
    return OcpiResponse()


async def _keep(call: OcpiRequest, tree: Tree, *, party: str) -> OcpiResponse:
    listed = tree.get("cdrs")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_CDRS:
        raise OcpiRejectionError(f"$.cdrs: expected a list of 1 to {_MAX_CDRS} CDR ids, got {shown(listed)}")
    record = InvoiceRecord(
        party_id=party,
        record_id=identifier(tree, "id"),
        invoice_id=text(tree, "invoice_id"),
        cdr_ids=tuple(
            check_identifier(str(cdr_id), at=f"$.cdrs[{place}]", limit=39)
            for place, cdr_id in enumerate(listed)
        ),
        body=encode(tree, name=_NAME),
        last_updated=moment(tree, "last_updated"),
    )
    async with transaction(call.services.pool) as connection:
        created = await payments.save_invoice(connection, record, now=call.services.clock.now())
    return OcpiResponse(http_status=201 if created else 200)


def _unknown(record_id: str) -> OcpiRejectionError:
    return OcpiRejectionError(
        f"record {record_id} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404
    )
