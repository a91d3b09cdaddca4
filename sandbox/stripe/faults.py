"""Faults on demand: which request or webhook is disturbed, how, and how often.

Owns: rules, their matching and counting. Must not know: sockets; the server carries the effects out.

A rule counts the requests it matches; it fires from the `nth` on, `times` times (0: for ever).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sandbox.stripe.forms import Params
from sandbox.stripe.problems import Json, ParameterProblem

MAX_RULES: Final = 1000
MAX_DELAY_MS: Final = 600_000
DEFAULT_HOLD_MS: Final = 120_000
STATUSES: Final = (400, 402, 409, 429, 500, 502, 503, 504)


class FaultKind(StrEnum):
    """What can be done to a request, and to a webhook."""

    DELAY = "delay"
    STATUS = "status"
    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    DECLINE = "decline"
    DUPLICATE = "duplicate"
    LATE = "late"
    DROP = "drop"
    DISORDER = "disorder"


WEBHOOK_KINDS: Final = frozenset({FaultKind.DUPLICATE, FaultKind.LATE, FaultKind.DROP, FaultKind.DISORDER})


@dataclass(slots=True, kw_only=True)
class Rule:
    """One fault with its match and its count."""

    rule_id: str
    kind: FaultKind
    effect: Json
    match: Json
    path: re.Pattern[str] | None
    nth: int
    times: int
    seen: int = 0
    fired: int = 0

    def fires(self) -> bool:
        """Count one match; whether the rule applies to it."""
        self.seen += 1
        if self.seen < self.nth or (self.times and self.fired >= self.times):
            return False
        self.fired += 1
        return True

    def shown(self) -> Json:
        """The rule as the control API shows it."""
        counted = {"nth": self.nth, "times": self.times, "seen": self.seen, "fired": self.fired}
        return {"id": self.rule_id, "object": "fault", "match": self.match, "fault": self.effect, **counted}


class FaultRules:
    """The rules in force, oldest first. They live as long as the process."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._count = 0

    def add(self, params: Params) -> Rule:
        """Read and store a rule. Raises ParameterProblem that names the wrong field."""
        params.only("match", "fault")
        if len(self._rules) >= MAX_RULES:
            raise ParameterProblem(f"There are already {MAX_RULES} faults; DELETE /_sandbox/faults first.")
        match = params.section("match").only(
            "method", "path_regex", "nth", "times", "metadata", "idempotency_key", "type_regex"
        )
        effect = _effect(params.section("fault"))
        kind = FaultKind(effect["kind"])
        pattern = match.text("type_regex" if kind in WEBHOOK_KINDS else "path_regex")
        self._count += 1
        rule = Rule(
            rule_id=f"fault_{self._count}",
            kind=kind,
            effect=effect,
            match=match.raw(),
            path=None if pattern is None else _compiled(pattern),
            nth=match.integer("nth", least=1) or 1,
            times=_or(match.integer("times", least=0), 1),
        )
        self._rules[rule.rule_id] = rule
        return rule

    def remove(self, rule_id: str | None = None) -> int:
        """Forget one rule, or all of them; how many went."""
        if rule_id is not None:
            return 0 if self._rules.pop(rule_id, None) is None else 1
        count = len(self._rules)
        self._rules = {}
        return count

    def shown(self) -> list[Json]:
        """All rules with their counts."""
        return [rule.shown() for rule in self._rules.values()]

    def request_effects(
        self, *, method: str, path: str, idempotency_key: str | None, metadata: Callable[[], dict[str, str]]
    ) -> list[Json]:
        """The effects on this request, in the order the rules were set.

        `metadata` is asked only where it matters.
        """
        return [
            rule.effect
            for rule in self._rules.values()
            if rule.kind not in WEBHOOK_KINDS
            and rule.match.get("method", method).upper() == method
            and (rule.path is None or rule.path.search(path))
            and rule.match.get("idempotency_key", idempotency_key) == idempotency_key
            and _metadata_matches(rule.match.get("metadata"), metadata)
            and rule.fires()
        ]

    def webhook_effects(self, *, event_type: str) -> list[Json]:
        """The effects on the delivery of one event."""
        return [
            rule.effect
            for rule in self._rules.values()
            if rule.kind in WEBHOOK_KINDS
            and (rule.path is None or rule.path.search(event_type))
            and rule.fires()
        ]


def _metadata_matches(wanted: Json | None, metadata: Callable[[], dict[str, str]]) -> bool:
    if not wanted:
        return True
    found = metadata()
    return all(found.get(key) == value for key, value in wanted.items())


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ParameterProblem(
            f"match.path_regex: not a regular expression: {error}", param="match"
        ) from None


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _effect(fault: Params) -> Json:
    """The fault's fields, checked and completed."""
    fault.only(
        "kind",
        "delay_ms",
        "status",
        "after",
        "hold_ms",
        "code",
        "decline_code",
        "message",
        "copies",
        "late_s",
    )
    kinds = tuple(kind.value for kind in FaultKind)
    kind = fault.choice("kind", kinds)
    if kind is None:
        raise ParameterProblem(
            f"Missing required param: fault[kind]: one of {', '.join(kinds)}", param="fault[kind]"
        )
    effect: Json = {"kind": kind}
    match FaultKind(kind):
        case FaultKind.DELAY:
            effect["delay_ms"] = fault.required_integer("delay_ms", least=0)
            if effect["delay_ms"] > MAX_DELAY_MS:
                raise ParameterProblem(
                    f"fault[delay_ms] must be at most {MAX_DELAY_MS}", param="fault[delay_ms]"
                )
        case FaultKind.STATUS:
            effect["status"] = fault.required_integer("status")
            effect["after"] = fault.boolean("after")
            effect["code"] = fault.text("code")
            effect["message"] = fault.text("message")
            if effect["status"] not in STATUSES:
                raise ParameterProblem(f"fault[status] must be one of {STATUSES}", param="fault[status]")
        case FaultKind.TIMEOUT_BEFORE | FaultKind.TIMEOUT_AFTER:
            effect["hold_ms"] = _or(fault.integer("hold_ms", least=0, most=MAX_DELAY_MS), DEFAULT_HOLD_MS)
        case FaultKind.DECLINE:
            effect["code"] = fault.text("code") or "card_declined"
            effect["decline_code"] = fault.text("decline_code") or "generic_decline"
            effect["message"] = fault.text("message") or "Your card was declined."
        case FaultKind.DUPLICATE:
            effect["copies"] = _or(fault.integer("copies", least=2, most=100), 2)
        case FaultKind.LATE:
            effect["late_s"] = fault.required_integer("late_s", least=0)
        case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER | FaultKind.DROP | FaultKind.DISORDER:
            pass
    return effect
