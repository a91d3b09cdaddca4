"""Only the Stripe adapter's folder knows Stripe: its modules, its event types, the form of its ids."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.payments.psp.stripe.event_types import CONNECT_EVENTS, EVENT_KINDS
from gateway.webhooks.events import EventType

ROOT = Path(__file__).parents[2]
ADAPTER = "gateway/payments/psp/stripe/"
COMPOSITION = ("gateway/application.py", "gateway/cli/")
# An event of Stripe's: object and verb, as in docs.stripe.com/api/events/types.
EVENT_TYPE = re.compile(r"^(payment_intent|charge|topup|setup_intent)\.[a-z_.]+$")
IDENTIFIER = re.compile(
    r"\b(pi|ch|py|re|tr|tu|txn|evt|dp|pm|cus|acct|seti)_(?=[a-z]*[0-9A-Z])[0-9A-Za-z]{3,}"
)
OUR_IDENTIFIERS = ("evt_", "pm_", "cus_", "acct_")  # ours, or a partner's tokens in published examples


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("gateway", "clearing", "pnc"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ADAPTER):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def literals() -> Iterator[tuple[str, str]]:
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{name}:{node.lineno}", node.value


def test_only_the_composition_imports_the_stripe_adapter() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        if not name.startswith(COMPOSITION)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        and any(
            imported.startswith(("stripe", "gateway.payments.psp.stripe"))
            for imported in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            + [alias.name for alias in node.names]
        )
    ]
    assert found == []


def test_the_guide_says_how_much_a_second_psp_has_to_write() -> None:
    modules = sorted((ROOT / ADAPTER).glob("*.py"))
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in modules)
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"Stripe's folder has (\d+) lines", guide)
    assert abs(int(said) - lines) <= lines // 20, f"CONTRIBUTING.md says {said} lines; there are {lines}"
    assert [path.name for path in modules if path.name != "__init__.py" and path.name not in guide] == []


def test_no_event_type_of_stripe_is_named_outside_its_adapter() -> None:
    # `refund.failed` is also an event of our own, which partners receive.
    stripes = {*EVENT_KINDS, *CONNECT_EVENTS} - {kind.value for kind in EventType}
    assert [where for where, text in literals() if text in stripes or EVENT_TYPE.match(text)] == []


def test_no_identifier_of_stripe_is_written_outside_its_adapter() -> None:
    found = [
        f"{where}: {match[0]}"
        for where, text in literals()
        for match in IDENTIFIER.finditer(text)
        if not match[0].startswith(OUR_IDENTIFIERS)
    ]
    assert found == []


@pytest.mark.parametrize("path", sorted((ROOT / "gateway/sql").glob("*.sql")), ids=lambda path: path.name)
def test_no_statement_names_what_is_stripes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "stripe" not in text.lower()
    assert not re.search(r"'(payment_intent|charge|topup)\.[a-z_]+'|'(pi|ch|re)_", text)
