"""Objects as the client sees them: without private fields, with current status, `expand[]` paths followed.

Owns: which id prefix names which kind. Must not know: how an object came to be.
"""

from typing import Any, Final

from sandbox.stripe.problems import Json, ParameterProblem
from sandbox.stripe.state import PspState

KIND_OF_PREFIX: Final = {
    "acct": "account",
    "ch": "charge",
    "cs": "checkout.session",
    "cus": "customer",
    "du": "dispute",
    "mandate": "mandate",
    "pi": "payment_intent",
    "pm": "payment_method",
    "po": "payout",
    "py": "charge",
    "re": "refund",
    "pyr": "refund",
    "seti": "setup_intent",
    "setatt": "setup_attempt",
    "tr": "transfer",
    "trr": "transfer_reversal",
    "tu": "topup",
    "txn": "balance_transaction",
}
MAX_EXPAND_DEPTH: Final = 4


def visible(body: Json, *, now: int) -> Json:
    """The object without private fields, and with what depends on the time."""
    if body.get("object") == "balance_transaction":
        return {**body, "status": "available" if body["available_on"] <= now else "pending"}
    if any(key[0] == "_" for key in body):
        return {key: value for key, value in body.items() if key[0] != "_"}
    return body


def present(state: PspState, body: Json, paths: list[str]) -> Json:
    """`body`, or each object of the list that it is, made visible and expanded. Raises ParameterProblem."""
    if body.get("object") in {"list", "search_result"}:
        body = {**body, "data": [visible(item, now=state.now) for item in body["data"]]}
    else:
        body = visible(body, now=state.now)
    for path in paths:
        parts = path.split(".")
        depth = len(parts) - (parts[0] == "data")
        if depth > MAX_EXPAND_DEPTH:
            raise ParameterProblem(
                f"You cannot expand more than {MAX_EXPAND_DEPTH} levels of a property (property: {path}).",
                param="expand",
            )
        body = _expanded(state, body, parts, path)
    return body


def _expanded(state: PspState, node: Any, parts: list[str], path: str) -> Any:
    if isinstance(node, list):
        return [_expanded(state, item, parts, path) for item in node]
    if not parts or node is None:
        return node
    if not isinstance(node, dict) or parts[0] not in node:
        raise ParameterProblem(f"This property cannot be expanded ({path}).", param="expand")
    head, rest = parts[0], parts[1:]
    value = node[head]
    if isinstance(value, str):
        kind = KIND_OF_PREFIX.get(value.split("_", 1)[0])
        found = state.peek(kind, value) if kind is not None else None
        if found is None:
            raise ParameterProblem(f"This property cannot be expanded ({path}).", param="expand")
        value = visible(found, now=state.now)
    return {**node, head: _expanded(state, value, rest, path)}
