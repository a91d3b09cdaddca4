"""Search: `metadata['session']:'s_1' AND status:'succeeded'`, newest first.

Owns: the query language (docs.stripe.com/search). Must not know: any resource's rules.
As with the provider, an object becomes searchable some time after it was made (`search_lag_s`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json, ParameterProblem

PAGE_DEFAULT: Final = 10
PAGE_LIMIT: Final = 100
MAX_CLAUSES: Final = 10
_TEXT_FIELDS: Final = ("status", "currency", "customer", "email", "name", "payment_intent", "phone")
_KIND_OF: Final = {"payment_intents": "payment_intent", "charges": "charge", "customers": "customer"}
_NUMBER_FIELDS: Final = ("amount", "created")
_CLAUSE: Final = re.compile(
    r"""\s*(?P<negated>-)?(?:metadata\[(?P<mq>['"])(?P<key>.*?)(?P=mq)\]|(?P<field>[a-z_]+))\s*
    (?P<operator>:|~|>=|<=|>|<)\s*
    (?:(?P<vq>['"])(?P<text>(?:\\.|(?!(?P=vq)).)*)(?P=vq)|(?P<number>[0-9]+)|(?P<null>null))\s*""",
    re.VERBOSE,
)
_JOINER: Final = re.compile(r"(AND|OR)\b", re.IGNORECASE)
_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    ":": lambda left, right: left == right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition; `key` is set for metadata."""

    field: str
    key: str | None
    operator: str
    value: str | int | None
    negated: bool

    def holds(self, body: Json) -> bool:
        """Whether the object meets the condition."""
        found = body.get("metadata", {}).get(self.key) if self.key is not None else body.get(self.field)
        return self._matches(found) is not self.negated

    def _matches(self, found: object) -> bool:
        match self.value, found:
            case None, _:
                return found is None
            case int(), int():
                return _COMPARE[self.operator](found, self.value)
            case str(), str():
                if self.operator == "~":
                    return self.value.casefold() in found.casefold()
                return self.value.casefold() == found.casefold()
            case _:
                return False


def parse_query(query: str) -> tuple[list[Clause], bool]:
    """The clauses and whether all must hold (AND). Raises ParameterProblem: where reading stopped."""
    clauses: list[Clause] = []
    joiners: set[str] = set()
    at = 0
    while True:
        match = _CLAUSE.match(query, at)
        if match is None:
            raise _unreadable(query, at)
        clauses.append(_clause(match, query))
        at = match.end()
        if at >= len(query):
            break
        joiner = _JOINER.match(query, at)
        if joiner is not None:
            at = joiner.end()
        joiners.add(joiner[1].upper() if joiner is not None else "AND")
    if len(joiners) > 1:
        raise ParameterProblem("The search query mixes AND and OR; use one of them.", param="query")
    if len(clauses) > MAX_CLAUSES:
        raise ParameterProblem(f"A search query can have at most {MAX_CLAUSES} clauses.", param="query")
    return clauses, "OR" not in joiners


def _unreadable(query: str, at: int) -> ParameterProblem:
    return ParameterProblem(
        f"The search query cannot be read from position {at} on: {query[at:][:40]!r}. "
        "Write for example metadata['key']:'value' AND status:'succeeded'.",
        param="query",
    )


def _clause(match: re.Match[str], query: str) -> Clause:
    key, name, operator = match["key"], match["field"], match["operator"]
    number, text = match["number"], match["text"]
    value: str | int | None = None
    if number is not None:
        value = int(number)
    elif text is not None:
        value = re.sub(r"\\(.)", r"\1", text)
    numeric = name in _NUMBER_FIELDS
    if key is None and not numeric and name not in _TEXT_FIELDS:
        raise ParameterProblem(f"Field `{name}` is an unsupported search field.", param="query")
    if numeric is not isinstance(value, int) or (not numeric and operator not in {":", "~"}):
        raise _unreadable(query, match.start())
    return Clause(
        field=name or "metadata",
        key=key,
        operator=operator,
        value=value,
        negated=match["negated"] is not None,
    )


@takes("query", "limit", "page")
def search(call: PspApiRequest) -> Json:
    """GET /v1/{resource}/search: a `search_result` with `next_page` as the cursor."""
    kind = _KIND_OF[call.path.split("/")[2]]
    params = call.params
    clauses, together = parse_query(params.required_text("query"))
    limit = params.integer("limit", least=1, most=PAGE_LIMIT) or PAGE_DEFAULT
    offset = params.integer("page", least=0) or 0
    lookup, value = _narrowest(kind, clauses, together=together)
    seen_until = call.state.now - call.state.settings.search_lag_s
    fits = all if together else any
    found = [
        body
        for body in call.state.records.scan(
            kind, call.account, field=lookup, values=() if value is None else (value,)
        )
        if body["created"] <= seen_until
        and "deleted" not in body
        and fits(clause.holds(body) for clause in clauses)
    ]
    more = len(found) > offset + limit
    return {
        "object": "search_result",
        "data": found[offset : offset + limit],
        "has_more": more,
        "next_page": str(offset + limit) if more else None,
        "url": call.path,
    }


def _narrowest(kind: str, clauses: list[Clause], *, together: bool) -> tuple[str | None, str | None]:
    """A stored lookup that every match must be in, if the query has one."""
    if kind == "payment_intent" and together:
        for clause in clauses:
            exact = clause.operator == ":" and not clause.negated and isinstance(clause.value, str)
            if exact and clause.key is not None:
                return f"metadata.{clause.key}", str(clause.value)
    return None, None
