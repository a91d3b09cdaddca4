"""`make audit-packages`: licenses of the run-time packages, known vulnerabilities of all that are pinned.

Owns: what is judged, and by which entries of deploy/packages.toml. Licenses come from the metadata of what
is installed, so libraries that a wheel bundles are not seen. Vulnerabilities come from pip-audit, which asks
PyPI; a package that it could not ask about is reported as not checked, never as clean. Must not know: what a
package is used for.

Exit status: 0 nothing found, 1 something found, 2 nothing found but not all was checked.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final, Self

import click

ROOT: Final = Path(__file__).parents[1]
LIST_FILE: Final = ROOT / "deploy/packages.toml"
RUNTIME: Final = ROOT / "requirements.txt"
PINNED: Final = (
    RUNTIME,
    ROOT / "requirements-build.txt",
    ROOT / "requirements-dev.txt",
    ROOT / "requirements-fuzz.txt",
)
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==", re.MULTILINE)
_COPYLEFT: Final = re.compile(r"(?<!L)GPL", re.IGNORECASE)
_TIMEOUT_SECONDS: Final = 600
_SERVICE: Final = "https://pypi.org/pypi/NAME/json"
_FOUND: Final = 1
_NOT_CHECKED: Final = 2


class ListFileError(Exception):
    """deploy/packages.toml is not what it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedVulnerability:
    """A known vulnerability that is accepted up to and including a day."""

    package: str
    id: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The list file: what is accepted, and for what reason."""

    licenses: frozenset[str]
    spellings: Mapping[str, str]
    exceptions: Mapping[str, str]
    vulnerabilities: tuple[AcceptedVulnerability, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse the file.

        Raises:
            ListFileError: an exception without a reason, or one that accepts the GPL or AGPL.
        """
        found = tomllib.loads(text)
        listed = found["licenses"]
        for one in [*listed.get("exceptions", []), *found.get("vulnerabilities", [])]:
            if not str(one.get("reason", "")).strip():
                raise ListFileError(f"{one['package']}: an exception needs a reason")
        exceptions = {one["package"]: one["license"] for one in listed.get("exceptions", [])}
        for name in [*exceptions.values(), *listed["allowed"]]:
            if _COPYLEFT.search(name):
                raise ListFileError(f"{name} is never accepted at run time")
        return cls(
            licenses=frozenset(listed["allowed"]),
            spellings=listed.get("spellings", {}),
            exceptions=exceptions,
            vulnerabilities=tuple(AcceptedVulnerability(**one) for one in found.get("vulnerabilities", [])),
        )


@dataclass(slots=True, kw_only=True)
class Report:
    """Lines about what was found and what was not checked."""

    found: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.found:
            return _FOUND
        return _NOT_CHECKED if self.not_checked else 0


def pinned_packages(text: str) -> list[str]:
    """The names that a requirements file pins, each once."""
    return sorted(set(_PIN.findall(text)))


def license_of(described: PackageMetadata, spellings: Mapping[str, str]) -> str:
    """A package's license as an SPDX expression; empty where its metadata name none.

    The expression of core metadata 2.4, else its classifiers (several are alternatives), else its license
    line.
    """
    if "License-Expression" in described:
        return described["License-Expression"]
    named = [
        line.rpartition(" :: ")[2]
        for line in described.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    if not named and "License" in described:
        named = [described["License"].strip()]
    return " OR ".join(spellings.get(name, name) for name in named)


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression of AND over OR, without parentheses, leaves an allowed choice."""
    return any(
        all(part.strip() in allowed for part in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def check_licenses(licenses: Mapping[str, str | None], accepted: Accepted) -> Report:
    """Judge each run-time package by its license; None: the package is not installed here."""
    report = Report()
    for package, expression in licenses.items():
        if expression is None:
            report.not_checked.append(f"{package}: not installed here, so its license is not known")
        elif not is_allowed(expression, accepted.licenses) and accepted.exceptions.get(package) != expression:
            report.found.append(f"{package}: license {expression or 'not named'} is not in {LIST_FILE.name}")
    report.found += [
        f"{package}: {LIST_FILE.name} accepts its license, and it is not pinned or has another license"
        for package, expression in accepted.exceptions.items()
        if licenses.get(package, "") not in {None, expression}
    ]
    return report


def check_vulnerabilities(answer: Mapping[str, Any], accepted: Accepted, *, today: date) -> Report:
    """Judge pip-audit's JSON: known vulnerabilities that are not accepted, and packages it left out."""
    report = Report()
    by_id = {(one.package, one.id): one for one in accepted.vulnerabilities}
    seen: set[tuple[str, str]] = set()
    for package in answer["dependencies"]:
        name = package["name"]
        if reason := package.get("skip_reason"):
            report.not_checked.append(f"{name}: {reason}")
        for one in package.get("vulns", []):
            names = {one["id"], *one.get("aliases", [])}
            entry = next((by_id[name, alias] for alias in sorted(names) if (name, alias) in by_id), None)
            if entry is not None:
                seen.add((name, entry.id))
            if entry is None or entry.until < today:
                fixed = ", ".join(one.get("fix_versions", [])) or "no version"
                lapsed = "" if entry is None else f"; accepted until {entry.until}"
                report.found.append(f"{name} {package['version']}: {one['id']}, fixed in {fixed}{lapsed}")
    if report.not_checked and len(report.not_checked) == len(answer["dependencies"]):
        count = len(report.not_checked)
        line = (
            f"none of {count} packages is known to the service that pip-audit asks; is {_SERVICE} reachable?"
        )
        report.not_checked = [line]
    elif not report.not_checked:
        report.found += [
            f"{name}: {LIST_FILE.name} accepts {vulnerability}, which it does not have"
            for name, vulnerability in by_id
            if (name, vulnerability) not in seen
        ]
    return report


def installed_licenses(packages: Sequence[str], spellings: Mapping[str, str]) -> dict[str, str | None]:
    """The license of each package by the metadata of what is installed; None: it is not."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            described = metadata(package)
        except PackageNotFoundError:
            found[package] = None
        else:
            found[package] = license_of(described, spellings)
    return found


def ask_pip_audit(files: Sequence[Path]) -> Mapping[str, Any] | str:
    """pip-audit's answer about the pins of `files`, or why there is none."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner=off",
    ]
    for file in files:
        command += ["--requirement", str(file)]
    try:
        run = subprocess.run(
            [*command, "--format=json"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"pip-audit did not end within {_TIMEOUT_SECONDS} seconds"
    try:
        answer: Mapping[str, Any] = json.loads(run.stdout)
    except json.JSONDecodeError:
        return (run.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
    return answer


def main() -> int:
    """Check licenses, then vulnerabilities; print what was found and what was not checked."""
    accepted = Accepted.read(LIST_FILE.read_text(encoding="utf-8"))
    runtime = pinned_packages(RUNTIME.read_text(encoding="utf-8"))
    licenses = check_licenses(installed_licenses(runtime, accepted.spellings), accepted)
    answer = ask_pip_audit(PINNED)
    if isinstance(answer, str):
        known = Report(not_checked=[f"all packages: {answer}"])
    else:
        known = check_vulnerabilities(answer, accepted, today=datetime.now(UTC).date())
    for title, report in (("licenses", licenses), ("vulnerabilities", known)):
        for line in report.found:
            click.echo(f"{title}: found: {line}")
        for line in report.not_checked:
            click.echo(f"{title}: not checked: {line}")
        if not report.status:
            click.echo(f"{title}: checked, nothing found")
    return _FOUND if _FOUND in {licenses.status, known.status} else max(licenses.status, known.status)


if __name__ == "__main__":
    sys.exit(main())
