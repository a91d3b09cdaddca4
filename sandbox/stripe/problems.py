"""Rejections in the provider's error envelope.

    PspProblem
    |-- ParameterProblem      400, the request never started executing: its idempotency key stays unused
    |-- CardProblem           402, the attempt is recorded although it failed

Owns: status, type, code, message, param. Must not know: HTTP framing, which client asked.
"""

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


class PspProblem(Exception):  # noqa: N818 - a rejection is an expected answer, not a fault
    """An answer other than 200. `extra` joins the envelope (an embedded payment intent, a decline code)."""

    keeps_effects = False
    keeps_answer = True

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        extra: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.extra = extra or {}

    def error(self) -> Json:
        """The `error` object of the envelope: type, code, message, param and what else the case carries."""
        error: Json = {"message": self.message, "type": self.kind}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        return error | self.extra


class ParameterProblem(PspProblem):
    """The parameters are wrong: nothing was executed and no answer is stored for the idempotency key."""

    keeps_answer = False


class CardProblem(PspProblem):
    """The card was declined: the failed attempt is recorded."""

    keeps_effects = True

    def __init__(
        self, message: str, *, code: str, decline_code: str | None = None, extra: Json | None = None
    ) -> None:
        carried: Json = {"decline_code": decline_code} if decline_code else {}
        super().__init__(message, status=402, kind="card_error", code=code, extra=carried | (extra or {}))


def missing(kind: str, object_id: str, *, param: str = "id", status: int = 404) -> PspProblem:
    """The answer for an id that names nothing the caller may see."""
    noun = kind.replace("_", "")
    return PspProblem(f"No such {noun}: '{object_id}'", status=status, code="resource_missing", param=param)


def unexpected_state(verb: str, intent: Json, allowed: str, *, noun: str = "PaymentIntent") -> PspProblem:
    """The answer for a verb that the intent's status does not allow; the intent is embedded."""
    key = "payment_intent" if noun == "PaymentIntent" else "setup_intent"
    return PspProblem(
        f"This {noun} cannot be {verb}: its status is {intent['status']}; it may be {verb} in {allowed}.",
        code=f"{key}_unexpected_state",
        extra={key: intent},
    )
