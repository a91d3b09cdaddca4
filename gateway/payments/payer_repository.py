"""Customers, setups and saved payment methods in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, who may see what.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.payer_records import CustomerRecord, SavedMethodRecord, SetupRecord

_sql = named_queries("gateway", "payers.sql")


async def add_customer(connection: Connection, **fields: Any) -> CustomerRecord:
    """Commit what is about to be created at the PSP; the same id is the same customer."""
    return CustomerRecord.from_row(await _sql.add_customer(connection, **fields))


async def record_customer(connection: Connection, *, customer_id: UUID, psp_customer: str) -> CustomerRecord:
    """The PSP has created a customer."""
    return CustomerRecord.from_row(
        await _sql.record_customer(connection, id=customer_id, psp_customer=psp_customer)
    )


async def find_customer(connection: Connection, *, psp_customer: str) -> CustomerRecord | None:
    """A customer by the PSP's id."""
    row = await _sql.load_customer(connection, psp_customer=psp_customer)
    return None if row is None else CustomerRecord.from_row(row)


async def list_customers(
    connection: Connection, *, party_id: str | None, reference: str | None, before: UUID | None, limit: int
) -> list[CustomerRecord]:
    """Customers of a party (None: all), newest first."""
    rows = _sql.list_customers(
        connection, party_id=party_id, reference=reference, before=before, row_limit=limit
    )
    return [CustomerRecord.from_row(row) async for row in rows]


async def add_setup(connection: Connection, *, psp_customer: str, **fields: Any) -> SetupRecord:
    """Commit what is about to be opened at the PSP; the same id is the same setup."""
    row = await _sql.add_setup(connection, **fields)
    return SetupRecord.from_row({**row, "psp_customer": psp_customer})


async def record_opened_setup(connection: Connection, *, setup_id: UUID, psp_setup: str) -> None:
    """The PSP has opened a setup."""
    await _sql.record_opened_setup(connection, id=setup_id, psp_setup=psp_setup)


async def find_setup(
    connection: Connection, *, setup_id: UUID | None = None, psp_setup: str | None = None
) -> SetupRecord | None:
    """A setup by our id or by the PSP's."""
    if setup_id is not None:
        row = await _sql.load_setup(connection, id=setup_id)
    else:
        row = await _sql.find_setup(connection, psp_setup=psp_setup)
    return None if row is None else SetupRecord.from_row(row)


async def record_setup(connection: Connection, **fields: Any) -> bool:
    """Record what the PSP says of a setup; False where another has recorded it since."""
    return bool(await _sql.record_setup(connection, **fields))


async def list_saved_methods(
    connection: Connection, *, customer_id: UUID, before: UUID | None, limit: int
) -> list[SavedMethodRecord]:
    """A customer's saved payment methods, newest first, without those that were removed."""
    rows = _sql.list_payment_methods(connection, customer_id=customer_id, before=before, row_limit=limit)
    return [SavedMethodRecord.from_row(row) async for row in rows]


async def find_saved_method(connection: Connection, *, psp_method: str) -> SavedMethodRecord | None:
    """A saved payment method, removed or not."""
    row: Mapping[str, Any] | None = await _sql.load_payment_method(connection, psp_method=psp_method)
    return None if row is None else SavedMethodRecord.from_row(row)


async def remove_saved_method(connection: Connection, *, psp_method: str, now: datetime) -> None:
    """A saved payment method can't be charged from now on."""
    await _sql.remove_payment_method(connection, psp_method=psp_method, now=now)


async def save_attached_method(connection: Connection, **fields: Any) -> bool:
    """Record a method that an authorization was to save; False where none was, or it is known."""
    return bool(await _sql.save_attached_method(connection, **fields))


async def record_detached_method(connection: Connection, *, psp_method: str, now: datetime) -> None:
    """The PSP says that a method can't be charged any more."""
    await _sql.record_detached_method(connection, psp_method=psp_method, now=now)


async def record_updated_method(connection: Connection, **fields: Any) -> bool:
    """The card of a saved method was replaced; False where nothing has changed."""
    return bool(await _sql.record_updated_method(connection, **fields))


async def record_revoked_mandate(connection: Connection, *, mandate: str) -> None:
    """The consent to charges while the driver is away has ended."""
    await _sql.record_revoked_mandate(connection, mandate=mandate)


async def knows_other_payer(
    connection: Connection, *, party_id: str, psp_customer: str | None, psp_method: str
) -> bool:
    """Whether a customer or a payment method is known as another party's, or was removed."""
    return bool(
        await _sql.knows_other_payer(
            connection, party_id=party_id, psp_customer=psp_customer, psp_method=psp_method
        )
    )
