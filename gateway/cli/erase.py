"""`networkcore erase`: finds a driver's personal data, says what the law keeps, and erases the rest.

Owns: the options and what is printed. Must not know what is erased. Without --by nothing is changed.
"""

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from gateway.acts.service import record_reading
from gateway.cli.clock import business_now
from gateway.cli.retention_settings import read_environment, read_policy
from gateway.cli.tables import show_rows
from gateway.cli.transaction import command_act, in_transaction
from gateway.database import Connection
from gateway.personal_data.person import ErasureOutcome, ErasureReport, Subject, SubjectKind
from gateway.personal_data.person_service import PersonService, kept_json

_Command = TypeVar("_Command", bound=Callable[..., Any])
_REFUSED: Final = 1
_SENTENCES: Final = {
    ErasureOutcome.FOUND: "Nothing was changed. Repeat with --by and --reason to erase it.",
    ErasureOutcome.NOTHING: "There is nothing to erase.",
    ErasureOutcome.REFUSED: "Nothing was erased: what is under way ends first.",
    ErasureOutcome.ERASED: "Erased.",
}


def subject_options(command: _Command) -> _Command:
    """The options by which a driver is named: exactly one, and a reference with its party."""
    for option in (
        click.option("--card-fingerprint", help="The PSP's fingerprint of a saved card."),
        click.option("--emaid", help="An eMAID, in any written form."),
        click.option("--token-uid", help="The uid of an OCPI token."),
        click.option("--email", help="An e-mail address for receipts."),
        click.option("--party", help="With --reference: the party whose name of the driver it is."),
        click.option("--reference", help="A party's own name of the driver."),
    ):
        command = option(command)
    return command


def subject_of(**given: str | None) -> Subject:
    """The person that the options name. Raises UsageError."""
    party = given.pop("party")
    named = [(SubjectKind(name), value) for name, value in given.items() if value is not None]
    if len(named) != 1:
        options = ", ".join(f"--{kind.value.replace('_', '-')}" for kind in SubjectKind)
        raise click.UsageError(f"name the person by exactly one of {options}")
    subject = Subject(kind=named[0][0], value=named[0][1], party_id=party)
    if (misfit := subject.misfit()) is not None:
        raise click.UsageError(misfit)
    return subject


def person_service() -> PersonService:
    """The service, by the settings of the environment. Raises ConfigurationError."""
    return PersonService(policy=read_policy(), environment=read_environment())


@click.command(name="erase")
@subject_options
@click.option("--by", help="The person who erases; without it nothing is changed.")
@click.option("--reason", help="Why, such as the number of the request; it must not name the person.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not tables.")
@click.pass_context
def command(
    context: click.Context, /, *, by: str | None, reason: str | None, as_json: bool, **given: str | None
) -> None:
    """Find the personal data of a driver, and with --by and --reason erase them.

    Shows what is found, what prevents erasure, what the law keeps and until when. Everything is erased in
    one transaction, or nothing. Exit status 1 if something under way prevents it.
    """
    subject = subject_of(**given)
    if (by is None) != (reason is None) or not (by or "x").strip() or not (reason or "x").strip():
        raise click.UsageError("--by and --reason go together, and neither is empty")
    service = person_service()

    async def work(connection: Connection) -> ErasureReport:
        now = await business_now(connection)
        if by is None or reason is None:
            await record_reading(connection, command_act("erase"))
            return await service.report(connection, subject, now=now)
        return await service.erase(connection, subject, by=by.strip(), reason=reason.strip(), now=now)

    report = in_transaction(work, command="erase")
    if as_json:
        click.echo(json.dumps(report_json(report), ensure_ascii=False))
    else:
        _show(report)
    if report.outcome is ErasureOutcome.REFUSED:
        context.exit(_REFUSED)


def report_json(report: ErasureReport) -> dict[str, Any]:
    """The report as JSON-ready values; days in ISO 8601."""
    return {
        "outcome": report.outcome.value,
        "pseudonym": report.pseudonym,
        "at": report.at.isoformat(),
        "rows": dict(report.found),
        "obstacles": [{"subject": one.subject, "reason": one.reason} for one in report.obstacles],
        "kept": [kept_json(one) for one in report.kept],
        "elsewhere": list(report.elsewhere),
    }


def _show(report: ErasureReport) -> None:
    title = "Erased" if report.outcome is ErasureOutcome.ERASED else "Found"
    rows = [{"rule": rule, "rows": count} for rule, count in report.found.items()]
    show_rows(rows, title=title, none="Nothing to erase is known by that name.", as_json=False)
    if report.obstacles:
        obstacles = [{"subject": one.subject, "why not yet": one.reason} for one in report.obstacles]
        show_rows(obstacles, title="Under way", none="", as_json=False)
    if report.kept:
        show_rows([kept_json(one) for one in report.kept], title="Kept", none="", as_json=False)
    for line in report.elsewhere:
        click.echo(f"elsewhere: {line}")
    if report.pseudonym is not None:
        click.echo(f"pseudonym: {report.pseudonym}")
    click.echo(_SENTENCES[report.outcome])
