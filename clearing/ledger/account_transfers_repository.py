"""One account's balances and transfers in PostgreSQL.

Owns: rows to values. Must not know: who reads them.
"""

from collections.abc import Sequence
from datetime import datetime

from clearing.connection import Connection, named_queries, rows
from clearing.errors import InvalidBooksRequestError
from clearing.ledger.account_transfers import AccountTransfer, TransferPlace
from clearing.ledger.balances import AccountBalance

_sql = named_queries("account_transfers")


async def list_balances_of(
    connection: Connection, *, account: str, at: datetime | None
) -> Sequence[AccountBalance]:
    """Debits and credits of one account in each of its currencies, up to and including `at`."""
    found = await rows(_sql.account_balances(connection, account=account, at=at))
    return [AccountBalance(**dict(row.items())) for row in found]


async def list_transfers(
    connection: Connection,
    *,
    account: str,
    currency: str,
    at: datetime | None,
    after: TransferPlace | None,
    limit: int,
) -> Sequence[AccountTransfer]:
    """The transfers of an account and currency up to and including `at`, newest first, after a place."""
    first = None if after is None else await _sql.batch_place(connection, batch_id=after.batch_id)
    if after is not None and first is None:
        raise InvalidBooksRequestError("cursor", "is not what a page of this list ended with")
    # One more than transfers are asked for: of the first batch there may be none left.
    batches = await rows(
        _sql.moving_batches(
            connection,
            account=account,
            currency=currency,
            at=at,
            from_at=None if first is None else first["booked_at"],
            from_chain=None if first is None else first["chain"],
            from_position=None if first is None else first["position"],
            limit=limit + 1,
        )
    )
    booked = {batch["id"]: batch["booked_at"] for batch in batches}
    found = await rows(
        _sql.transfers_of_batches(
            connection,
            batches=list(booked),
            account=account,
            currency=currency,
            after_batch=None if after is None else after.batch_id,
            after_subject=None if after is None else after.subject_id,
            after_kind="" if after is None else after.kind,
            after_reference="" if after is None else after.reference,
            after_ordinal=0 if after is None else after.ordinal,
            limit=limit,
        )
    )
    return [
        AccountTransfer(
            place=TransferPlace(
                batch_id=row["batch_id"],
                subject_id=row["subject_id"],
                kind=row["kind"],
                ordinal=row["ordinal"],
                reference=row["reference"],
            ),
            booked_at=booked[row["batch_id"]],
            debit_account=row["debit_account"],
            credit_account=row["credit_account"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
        )
        for row in found
    ]
