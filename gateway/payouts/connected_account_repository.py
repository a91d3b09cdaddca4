"""Connected accounts in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, payout holds.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.psp.connect_port import PspAccount
from gateway.payouts.account_state import ConnectedAccountRecord

_sql = named_queries("gateway", "connected_accounts.sql")


async def add_account(
    connection: Connection, *, party_id: str, account_id: UUID, psp_account: str, now: datetime
) -> ConnectedAccountRecord:
    """The party's account; the one that it has, if it has one."""
    return ConnectedAccountRecord.from_row(
        await _sql.add_account(connection, party_id=party_id, id=account_id, psp_account=psp_account, now=now)
    )


async def find_account(connection: Connection, *, party_id: str) -> ConnectedAccountRecord | None:
    """The account of a party."""
    row = await _sql.find_account(connection, party_id=party_id)
    return None if row is None else ConnectedAccountRecord.from_row(row)


async def lock_account(connection: Connection, *, party_id: str) -> ConnectedAccountRecord | None:
    """The account of a party, locked until the transaction ends."""
    row = await _sql.lock_account(connection, party_id=party_id)
    return None if row is None else ConnectedAccountRecord.from_row(row)


async def lock_psp_account(connection: Connection, *, psp_account: str) -> None:
    """Keep others from giving a party this account of the PSP until the transaction ends."""
    await _sql.lock_psp_account(connection, psp_account=psp_account)


async def list_accounts_named(connection: Connection, *, psp_account: str) -> list[ConnectedAccountRecord]:
    """Every party that is paid to this account of the PSP."""
    rows = _sql.accounts_named(connection, psp_account=psp_account)
    return [ConnectedAccountRecord.from_row(row) async for row in rows]


async def list_accounts_of(
    connection: Connection, *, parties: Sequence[str]
) -> dict[str, ConnectedAccountRecord]:
    """The accounts of these parties, by party."""
    rows = _sql.accounts_of(connection, parties=list(parties))
    return {row["party_id"]: ConnectedAccountRecord.from_row(row) async for row in rows}


async def list_accounts(
    connection: Connection, *, payable: bool | None, after: str, limit: int
) -> list[ConnectedAccountRecord]:
    """Accounts that the PSP has said something of, by party, those after `after`."""
    rows = _sql.list_accounts(connection, payable=payable, after=after, row_limit=limit)
    return [ConnectedAccountRecord.from_row(row) async for row in rows]


async def list_accounts_to_read(
    connection: Connection, *, active_before: datetime, other_before: datetime, limit: int
) -> list[str]:
    """Parties whose account was last read before these times: one that can be paid, and one that can't."""
    rows = _sql.accounts_to_read(
        connection, active_before=active_before, other_before=other_before, row_limit=limit
    )
    return [row["party_id"] async for row in rows]


async def record_account(
    connection: Connection, *, party_id: str, account: PspAccount, now: datetime, read_at: datetime
) -> ConnectedAccountRecord:
    """What the PSP says of an account that the caller has locked."""
    return ConnectedAccountRecord.from_row(
        await _sql.record_account(
            connection,
            party_id=party_id,
            psp_account=account.psp_account,
            transfers=account.transfers.value,
            payouts_enabled=account.payouts_enabled,
            details_submitted=account.details_submitted,
            country=account.country,
            currency=account.currency,
            disabled_reason=account.disabled_reason,
            requirements=list(account.requirements),
            requirements_due=account.requirements_due,
            now=now,
            read_at=read_at,
        )
    )


async def confirm_account(connection: Connection, *, party_id: str, read_at: datetime) -> None:
    """The PSP has said the same again."""
    await _sql.confirm_account(connection, party_id=party_id, read_at=read_at)
