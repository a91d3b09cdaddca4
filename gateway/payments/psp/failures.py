"""What any request to a PSP may be answered when it did not succeed.

Owns: these three values. Must not know: what was requested.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A final no to this request; `retryable` says whether another try may ever succeed."""

    code: str
    retryable: bool
    psp_payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PspOutcomeUnknown:
    """No answer, or one that says nothing (timeout, reset, 5xx, rate limit): try again later.

    `ours`: the PSP refuses our requests for a mistake of ours, and the operator has been informed.
    """

    reason: str
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMisconfigured:
    """The PSP refuses the request for a mistake of ours: key, permission, parameters, what is not activated.

    `definite`: the PSP has read the request under its key, so it had no effect, now or before. Where the key
    itself is refused, an earlier attempt may still have had one.
    """

    code: str
    detail: str
    definite: bool
