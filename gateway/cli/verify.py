"""`networkcore verify`: verifies a statement offline, with no database, network or setting."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from clearing.errors import StatementError
from clearing.ledger.account_statement import VerifiedStatement, verify
from clearing.money import to_major
from clearing.settlement_statements.statement import FORMAT
from clearing.settlement_statements.verification import (
    ProvedStatement,
    check_following,
    verify_settlement_statement,
)

_FAILED: Final = 1


@click.command(name="verify")
@click.argument(
    "statements", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file, not lines.")
def command(*, statements: Sequence[Path], as_json: bool) -> None:
    """Verify STATEMENTS of accounts or of disbursements: every line, its place in the journal, and the sums.

    Compare the printed heads with those that the platform publishes, or with your last statement's. The
    sha256 of a settlement statement is the one on its page. Several settlement statements, in their order,
    are also verified to follow each other without a gap.
    """
    before: ProvedStatement | None = None
    for path in statements:
        try:
            found = _read(path)
            if isinstance(found, ProvedStatement):
                if before is not None:
                    check_following(before, found)
                before = found
        except StatementError as error:
            _reject(error, path=path if len(statements) > 1 else None, as_json=as_json)
        if as_json:
            facts = _account_facts(found) if isinstance(found, VerifiedStatement) else _payment_facts(found)
            click.echo(json.dumps({"ok": True, **facts, "heads": _heads(found.heads)}))
        else:
            for line in _shown(found):
                click.echo(line)


def _reject(error: StatementError, *, path: Path | None, as_json: bool) -> NoReturn:
    text = str(error) if path is None else f"{path}: {error}"
    click.echo(json.dumps({"ok": False, "error": text}) if as_json else f"NOT VERIFIED: {text}")
    sys.exit(_FAILED)


def _read(path: Path) -> VerifiedStatement | ProvedStatement:
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return _verify(lines)
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"{path} is not a text file: {error.reason}; a page carries its JSON as an attachment"
        ) from error


def _verify(lines: Iterator[str]) -> VerifiedStatement | ProvedStatement:
    """By the format that the first line names."""
    first = next(lines, "")
    whole: Iterable[str] = chain([first], lines)
    try:
        head = json.loads(first)
    except ValueError:
        head = None
    if isinstance(head, dict) and head.get("format") == FORMAT:
        return verify_settlement_statement(whole)
    return verify(whole)


def _account_facts(found: VerifiedStatement) -> Mapping[str, Any]:
    return {
        "account": found.account,
        "currency": found.currency,
        "opening_minor": found.opening_minor,
        "closing_minor": found.closing_minor,
        "lines": found.lines,
        "batches": found.batches,
    }


def _payment_facts(found: ProvedStatement) -> Mapping[str, Any]:
    return {
        "disbursement": found.disbursement,
        "party": found.party_id,
        "account": found.account,
        "currency": found.currency,
        "number": found.number,
        "opening_minor": found.opening_minor,
        "payout_minor": found.payout_minor,
        "closing_minor": found.closing_minor,
        "lines": found.lines,
        "batches": found.batches,
        "sha256": found.sha256,
        "status": found.status,
    }


def _heads(heads: Mapping[int, tuple[int, str]]) -> Mapping[str, Any]:
    return {
        str(number): {"position": position, "hash": digest} for number, (position, digest) in heads.items()
    }


def _shown(found: VerifiedStatement | ProvedStatement) -> Iterator[str]:
    yield f"verified {found.account} {found.currency}: {found.lines} lines in {found.batches} batches"
    yield f"opening  {to_major(found.opening_minor, found.currency)}"
    if isinstance(found, ProvedStatement):
        paid = to_major(found.payout_minor, found.currency)
        yield f"payment  {paid}  {found.disbursement}, no. {found.number}"
    yield f"closing  {to_major(found.closing_minor, found.currency)}"
    if isinstance(found, ProvedStatement):
        yield f"sha256   {found.sha256}"
        if found.status is not None:
            yield f"status   {found.status} when this file was written; no part of the statement"
    for number, (position, digest) in sorted(found.heads.items()):
        yield f"head     chain {number} position {position} {digest}"
