"""The check of pinned packages: licenses by what is installed, vulnerabilities by what pip-audit answers."""

import sys
from collections.abc import Mapping
from datetime import date
from email.message import Message
from typing import Any, cast

import pytest

from tests.guides import text_of
from tests.package_audit import (
    LIST_FILE,
    RUNTIME,
    Accepted,
    ListFileError,
    check_licenses,
    check_vulnerabilities,
    installed_licenses,
    license_of,
    pinned_packages,
)

TODAY = date(2026, 11, 30)
LISTED = """
[licenses]
allowed = ["MIT", "Apache-2.0"]
[licenses.spellings]
"MIT License" = "MIT"
[[licenses.exceptions]]
package = "certificates"
license = "MPL-2.0"
reason = "data only"
[[vulnerabilities]]
package = "parser"
id = "CVE-2026-1"
reason = "not called"
until = 2026-11-30
"""
ACCEPTED = Accepted.read(LISTED)


def described(**headers: str | list[str]) -> Any:
    message = Message()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return cast("Any", message)


def answered(name: str, **more: Any) -> Mapping[str, Any]:
    return {"dependencies": [{"name": name, "version": "1", "vulns": []} | more, CLEAN]}


CLEAN = {"name": "clean", "version": "2", "vulns": []}
VULNERABLE = {"id": "PYSEC-2026-9", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"]}


def test_no_run_time_package_has_a_license_that_the_list_does_not_accept() -> None:
    accepted = Accepted.read(text_of(LIST_FILE))
    packages = pinned_packages(text_of(RUNTIME))
    assert len(packages) > 40
    licenses = installed_licenses(packages, accepted.spellings)
    report = check_licenses(licenses, accepted)
    assert report.found == []
    if sys.platform != "win32":
        assert report.not_checked == []


@pytest.mark.parametrize("name", ["GPL-3.0-only", "AGPL-3.0-or-later"])
def test_the_list_can_not_accept_the_gpl_or_agpl(name: str) -> None:
    with pytest.raises(ListFileError, match="never accepted"):
        Accepted.read(LISTED.replace("MPL-2.0", name))
    with pytest.raises(ListFileError, match="never accepted"):
        Accepted.read(LISTED.replace('"MIT", ', f'"MIT", "{name}", '))


@pytest.mark.parametrize("reason", ["data only", "not called"])
def test_an_exception_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(ListFileError, match="needs a reason"):
        Accepted.read(LISTED.replace(reason, " "))


def test_a_license_is_the_expression_else_the_classifiers_else_the_line() -> None:
    spellings = ACCEPTED.spellings
    classifier = "License :: OSI Approved :: MIT License"
    assert license_of(described(License_Expression="MIT AND Apache-2.0", License="GPL"), spellings) == (
        "MIT AND Apache-2.0"
    )
    assert license_of(described(Classifier=["Typing :: Typed", classifier], License="x"), spellings) == "MIT"
    assert license_of(described(License="Apache-2.0"), spellings) == "Apache-2.0"
    assert license_of(described(), spellings) == ""


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        ("MIT", 0),
        ("MIT AND Apache-2.0", 0),
        ("GPL-3.0-only OR MIT", 0),
        ("MIT AND GPL-3.0-only", 1),
        ("(MIT OR GPL-3.0-only) AND BSD", 1),
        ("MPL-2.0", 1),
        ("", 1),
    ],
)
def test_a_license_is_accepted_where_it_leaves_an_allowed_choice(expression: str, status: int) -> None:
    report = check_licenses({"one": expression, "certificates": "MPL-2.0"}, ACCEPTED)
    assert report.status == status


def test_an_exception_holds_for_its_package_and_license_only_and_is_removed_once_it_is_not_needed() -> None:
    assert check_licenses({"certificates": "MPL-2.0"}, ACCEPTED).status == 0
    assert check_licenses({"certificates": "EUPL-1.2"}, ACCEPTED).status == 1
    assert check_licenses({"certificates": "MIT"}, ACCEPTED).status == 1
    assert check_licenses({}, ACCEPTED).status == 1


def test_a_package_that_is_not_installed_is_not_checked_rather_than_fine() -> None:
    report = check_licenses({"certificates": None}, ACCEPTED)
    assert (report.found, report.status) == ([], 2)


def test_a_vulnerability_is_found_by_any_of_its_ids_unless_it_is_accepted_up_to_its_day() -> None:
    answer = answered("parser", vulns=[VULNERABLE])
    assert check_vulnerabilities(answer, ACCEPTED, today=TODAY).status == 0
    lapsed = check_vulnerabilities(answer, ACCEPTED, today=date(2026, 12, 1))
    assert lapsed.found == ["parser 1: PYSEC-2026-9, fixed in 1.1; accepted until 2026-11-30"]
    other = check_vulnerabilities(answered("other", vulns=[VULNERABLE]), ACCEPTED, today=TODAY)
    assert other.status == 1
    assert "other 1: PYSEC-2026-9, fixed in 1.1" in other.found


def test_what_is_accepted_and_no_longer_found_is_to_be_removed() -> None:
    report = check_vulnerabilities(answered("parser"), ACCEPTED, today=TODAY)
    assert report.found == ["parser: packages.toml accepts CVE-2026-1, which it does not have"]


def test_a_package_that_pip_audit_left_out_is_not_checked_rather_than_clean() -> None:
    answer = answered("parser", skip_reason="Dependency not found on PyPI")
    report = check_vulnerabilities(answer, ACCEPTED, today=TODAY)
    assert (report.found, report.status) == ([], 2)
    assert report.not_checked == ["parser: Dependency not found on PyPI"]


def test_a_service_that_knows_no_package_is_one_line() -> None:
    left_out = {"name": "a", "skip_reason": "Dependency not found on PyPI"}
    report = check_vulnerabilities({"dependencies": [left_out] * 3}, ACCEPTED, today=TODAY)
    assert report.status == 2
    (line,) = report.not_checked
    assert line.startswith("none of 3 packages is known")
