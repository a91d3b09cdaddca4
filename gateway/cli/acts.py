"""`networkcore acts`: who changed what, when, and at whose request.

Owns: the options and what is printed. Must not know how an act is recorded.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from gateway.acts import repository
from gateway.acts.repository import ActFilter, ActRecord
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection, encode_json

_MOST: Final = 10_000
_TIME: Final = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.command(name="acts")
@click.option("--principal", help="Only of this principal of API keys, or of this command's user.")
@click.option("--unnamed", is_flag=True, help="Only where nobody is named.")
@click.option("--object", "object_table", help="Only changes of this table, such as gateway.api_key.")
@click.option("--id", "object_id", help="Only changes of the object with this id.")
@click.option("--request", "request_id", help="Only of the request with this X-Request-Id.")
@click.option("--since", type=_TIME, help="Only from this time on, UTC.")
@click.option("--until", type=_TIME, help="Only before this time, UTC.")
@click.option("--limit", type=click.IntRange(1, _MOST), default=50, show_default=True, help="So many.")
@as_json_option
def command(
    *,
    principal: str | None,
    unnamed: bool,
    object_table: str | None,
    object_id: str | None,
    request_id: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List administrative acts of DATABASE_URL, newest first."""
    wanted = ActFilter(
        principal=principal,
        unnamed=unnamed,
        object_table=object_table,
        object_id=object_id,
        request_id=request_id,
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
    )

    async def work(connection: Connection) -> list[ActRecord]:
        return await repository.list_acts(connection, wanted, before=None, limit=limit)

    found = in_transaction(work, command="acts")
    rows = [_whole(act) if as_json else _line(act) for act in found]
    show_rows(rows, title="Administrative acts", none="No act is recorded.", as_json=as_json)


def _line(act: ActRecord) -> dict[str, Any]:
    return {
        "id": act.id,
        "at": act.acted_at.isoformat(timespec="seconds"),
        "principal": act.principal or "(nobody named)",
        "act": f"{act.kind} {act.object_table or ''} {act.object_id or ''}".strip(),
        "operation": act.operation or act.process,
        "change": _change(act.before or {}, act.after or {}),
        "reason": act.reason or "",
    }


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What changed in one line: name, old value, new value."""
    if not before or not after:
        return ""
    return "; ".join(f"{name}: {_text(before.get(name))} -> {_text(after[name])}" for name in sorted(after))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value)


def _whole(act: ActRecord) -> dict[str, Any]:
    return {
        "id": act.id,
        "acted_at": act.acted_at,
        "kind": act.kind,
        "principal": act.principal,
        "key_prefix": act.key_prefix,
        "party": act.party_id,
        "scope": act.scope,
        "request": act.request_id,
        "operation": act.operation,
        "path": act.path,
        "reason": act.reason,
        "object_type": act.object_table,
        "object_id": act.object_id,
        "before": _plain(act.before),
        "after": _plain(act.after),
        "process": act.process,
        "database_user": act.database_user,
    }


def _plain(values: Mapping[str, Any] | None) -> Any:
    """As JSON has it: decimals as text would lose that they are numbers, so they stay."""
    return None if values is None else json.loads(encode_json(dict(values)))
