"""The error tree of the OCPI edge.

OcpiError                         what a peer, or a call to a peer, did wrong; its text says what and where
├── OcpiRejectionError            the answer to a peer: an HTTP status, an OCPI status code, what to mend
├── PeerUnreachableError          no answer from the peer within the limits; nothing is known of the effect
├── PeerRejectedError             the peer answered, and the answer is no, or is not OCPI
└── ListShortError                a list of the peer ends before its end
"""

from collections.abc import Mapping
from enum import IntEnum

from gateway.errors import GatewayError


class StatusCode(IntEnum):
    """Status codes that this edge answers with (OCPI status_codes)."""

    SUCCESS = 1000
    CLIENT_ERROR = 2000
    INVALID_PARAMETERS = 2001
    NOT_ENOUGH_INFORMATION = 2002
    UNKNOWN_LOCATION = 2003
    UNKNOWN_TOKEN = 2004
    SERVER_ERROR = 3000
    CLIENT_API_UNUSABLE = 3001
    UNSUPPORTED_VERSION = 3002
    NO_MATCHING_ENDPOINTS = 3003
    UNKNOWN_RECEIVER = 4001


class OcpiError(GatewayError):
    """Base of what this edge raises on purpose."""


class OcpiRejectionError(OcpiError):
    """The request is answered with this and has no effect.

    `http_status` is 200 for a request that reached the OCPI layer (OCPI status_codes: no HTTP error then).
    """

    def __init__(
        self,
        text: str,
        *,
        code: StatusCode = StatusCode.INVALID_PARAMETERS,
        http_status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.headers = headers or {}
        self.text = text
        self.code = code
        self.http_status = http_status


class PeerUnreachableError(OcpiError):
    """The peer did not answer within the limits; whether the request took effect is unknown."""


class PeerRejectedError(OcpiError):
    """The peer's answer is an error or can't be read; `http_status` and `code` are as given.

    `code` is None where the answer has no envelope.
    """

    def __init__(self, text: str, *, http_status: int, code: int | None) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.code = code


class ListShortError(OcpiError):
    """A peer's list ends before its end; what was read is kept, and the list is read again from its start."""
