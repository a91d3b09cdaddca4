"""Structured logs: one line an event, with the ids of the request, session and party it belongs to.

Owns the format, the context and the redaction. Must not know what is worth a line.

Secrets are kept out twice: values under names that reveal them are replaced, and so are texts that look like
a key of ours or of the payment service provider, wherever they stand, and card numbers.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, TextIO

import structlog
from pydantic import SecretBytes, SecretStr

from gateway.card_numbers import mask_card_numbers
from gateway.config import LogFormat, LogLevel
from gateway.tracing import add_trace_to_line

REDACTED: Final = "[redacted]"
_LOGGERS_TOO_LOUD: Final = ("aiohttp.access", "stripe", "asyncio")
_MAX_DEPTH: Final = 6
_SECRET_NAME: Final = re.compile(
    r"(^|_|-)(secret|password|passwd|token|authorization|api_?key|apikey|cookie|signature|private_?key|pem|iban|pan"
    r"|cvc|dsn|database_url|credentials?)s?($|_|-)",
    re.IGNORECASE,
)
# What follows the prefix of a key of ours; the prefix says whose it is and proves nothing: it stays readable.
_KEY_SECRET: Final = re.compile(r"\b(nck_[a-z0-9]{12})_[A-Za-z0-9_+/=-]+")
# Other texts that look like a key of ours (nck_...), keys of the provider (sk_/rk_/whsec_), client secrets
# and connection tokens of its apps, bearer headers, and passwords within URLs.
_SECRET_TEXT: Final = re.compile(
    r"\b(?:(?:sk|rk|nck)_(?:live|test)_|whsec_|nck_(?![a-z0-9]{12}(?![A-Za-z0-9_+/=-])))[A-Za-z0-9_+/=-]{4,}"
    r"|\b[a-z]+_[A-Za-z0-9]+_secret_[A-Za-z0-9]+|\bpst_[A-Za-z0-9_]{8,}"
    r"|\b(?:bearer|token|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
# Without the local variables, which may hold anything.
_exceptions: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
_WRITTEN_HERE: Final = frozenset({"timestamp", "level", "logger"})  # by the steps before, never by a caller
# Routes, methods and parties come again in every line: what was found harmless is not searched anew.
_harmless: Final[set[str]] = set()
_TEXTS_KEPT: Final = 1024
_LONGEST_KEPT: Final = 64
_NAMES_KEPT: Final = 512
_OUR_REQUEST_ID: Final = re.compile(r"req_[0-9a-z]{26}")
_SAFE_NAMES: Final = frozenset(
    {"authorization_id", "token_uid_hash", "api_key_prefix", "authorization_reference"}
)


def configure_logs(
    *, log_format: LogFormat, log_level: LogLevel, stream: TextIO | None = None, process: int | None = None
) -> None:
    """Send every log line, ours and the libraries', to `stream` (default: standard error) in one format.

    `process` is the number of one process of several, which each line then carries.
    """
    target = stream if stream is not None else sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_trace_to_line,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if process is not None:
        shared.append(lambda _logger, _method, event: {**event, "process": process})
    if log_format is LogFormat.JSON:
        last: list[Any] = [
            structlog.processors.ExceptionRenderer(_exceptions),
            redact,
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        plain = structlog.dev.plain_traceback
        last = [
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain),
        ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.value.upper())
    for name in _LOGGERS_TOO_LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It retries by itself and logs each try with a traceback; we log the request or job that fails.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets in a line, by name and by form; the last step before it is written."""
    return {
        name: value if name in _WRITTEN_HERE else _clean(name, value, depth=0)
        for name, value in event.items()
    }


def _clean(name: str, value: Any, *, depth: int) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return REDACTED
    if value is not None and _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        return _blotted(value)
    if depth >= _MAX_DEPTH:
        return value if isinstance(value, int | bool | None) else REDACTED
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", inner, depth=depth + 1) for inner in value]
    if isinstance(value, BaseException):
        return _blotted(f"{type(value).__name__}: {value}")
    return value


@lru_cache(maxsize=_NAMES_KEPT)
def _is_secret(name: str) -> bool:
    """Whether a value under that name is not to be shown."""
    return name not in _SAFE_NAMES and _SECRET_NAME.search(name) is not None


def _blotted(text: str) -> str:
    """A text without the card numbers and secrets in it."""
    if text in _harmless or _OUR_REQUEST_ID.fullmatch(text):
        return text
    shown = _SECRET_TEXT.sub(REDACTED, _KEY_SECRET.sub(rf"\1 {REDACTED}", mask_card_numbers(text)))
    if shown == text and len(text) <= _LONGEST_KEPT:  # a secret is never kept
        if len(_harmless) >= _TEXTS_KEPT:
            _harmless.clear()
        _harmless.add(text)
    return shown


def first_line(error: BaseException) -> str:
    """An error's class and the first line of its text."""
    text = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
