"""Idempotency keys: the first answer is stored for 24 hours and returned again.

Another request under the same key is rejected.

Owns: what a key remembers. Must not know: resources.
"""

import hashlib
from typing import Final

import msgspec

from sandbox.stripe.balance_transactions import DAY_S
from sandbox.stripe.problems import Json, PspProblem
from sandbox.stripe.state import PspState

LIFETIME_S: Final = DAY_S
LONGEST_KEY: Final = 255


def fingerprint(method: str, path: str, parameters: Json) -> str:
    """What identifies a request apart from its key."""
    encoded = msgspec.json.encode([method, path, parameters], order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


def check_key(key: str) -> None:
    """Raises PspProblem on a key that is too long."""
    if len(key) > LONGEST_KEY:
        raise PspProblem(
            f"Idempotency keys can be at most {LONGEST_KEY} characters long.", kind="idempotency_error"
        )


def find_answer(state: PspState, account: str, key: str, mark: str, path: str) -> Json | None:
    """The answer stored under the key, None if there is none.

    Raises PspProblem if it was for another request.
    """
    record = state.records.find(_record_id(account, key))
    if record is None or record.body["created"] + LIFETIME_S <= state.now:
        return None
    kept = record.body
    if kept["fingerprint"] == mark:
        return kept
    if kept["path"] != path:
        raise PspProblem(
            f"Idempotency key '{key}' belongs to a request to {kept['path']}. A key serves the same endpoint "
            "only; send another request under another key.",
            kind="idempotency_error",
        )
    raise PspProblem(
        f"Idempotency key '{key}' was first used with other parameters. A key serves the same parameters "
        "only; send another request under another key.",
        kind="idempotency_error",
    )


def store_answer(
    state: PspState,
    account: str,
    key: str,
    *,
    mark: str,
    path: str,
    status: int,
    payload: Json,
    request_id: str,
) -> None:
    """Stage the answer under the key."""
    record_id = _record_id(account, key)
    body = {
        "id": record_id,
        "fingerprint": mark,
        "path": path,
        "status": status,
        "payload": payload,
        "request_id": request_id,
        "created": state.now,
    }
    state.records.put("idempotency", account, record_id, body)


def in_use(key: str) -> PspProblem:
    """The answer while the first request under the key is still at work."""
    return PspProblem(
        f"Another request under idempotency key '{key}' is still in progress; repeat this one later.",
        status=409,
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


def _record_id(account: str, key: str) -> str:
    return f"idempotency:{account}:{key}"
