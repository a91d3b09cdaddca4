"""Settings: one frozen object, read once from a file, from secret files and from the environment.

Owns everything that an operator can set, its default and its check. Must not know who uses a setting.

A setting `port` is read, weakest first, from `port = 8080` in the TOML file that NETWORKCORE_CONFIG names,
from the file that NETWORKCORE_PORT_FILE names (for secrets), and from NETWORKCORE_PORT. `DATABASE_URL` is
read as well, below NETWORKCORE_DATABASE_URL. A missing, invalid or unknown setting is a ConfigurationError of
one line: its name, where it was set, what is allowed. Values of secrets never appear.
"""

import base64
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from gateway.errors import ConfigurationError

PREFIX: Final = "NETWORKCORE_"
_CONFIG: Final = f"{PREFIX}CONFIG"
_FILE_SUFFIX: Final = "_FILE"
_MAX_SECRET_FILE_BYTES: Final = 65_536
_MIN_SECRET_LENGTH: Final = 16
_SECRET_KEY_BYTES: Final = 32
_PUBLISHABLE_KEY: Final = re.compile(r"pk_[A-Za-z0-9_]{4,250}")
_KEY_MODE: Final = re.compile(r"[a-z]{2}_(live|test)_")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
# How much of an unknown name must agree with a setting before that one is suggested.
_LIKENESS: Final = 0.75
_MOST_SHOWN: Final = 64
_BOUNDS: Final = {
    "ge": "of {} or more",
    "gt": "above {}",
    "le": "at most {}",
    "min_length": "of at least {} characters",
}
_CLOCK_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Environment(StrEnum):
    """What the money is: test money of the sandbox, or real."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


class ClockSource(StrEnum):
    """Where business time comes from."""

    SYSTEM = "system"
    MARKET = "market"


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected an http or https URL such as https://gateway.example")
    return text.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    # Not urlsplit: its errors repeat the address, password included.
    if not secret.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("expected a URL such as postgresql://user@host:5432/name")
    return secret


def _clock_time(text: str) -> str:
    if _CLOCK_TIME.fullmatch(text) is None:
        raise ValueError("expected a time of day such as 11:00")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected an IANA zone such as Europe/Zurich") from None
    return text


def _publishable_key(key: SecretStr) -> SecretStr:
    # Not shown in errors: a secret key may have been set by mistake.
    if _PUBLISHABLE_KEY.fullmatch(key.get_secret_value()) is None:
        raise ValueError("expected a publishable key, pk_..., never a secret one")
    return key


def _key_mode(key: SecretStr) -> str | None:
    """`live` or `test`, where the key names it."""
    found = _KEY_MODE.match(key.get_secret_value())
    return None if found is None else found[1]


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < _MIN_SECRET_LENGTH:
        raise ValueError(f"expected at least {_MIN_SECRET_LENGTH} characters")
    return secret


def _read_webhook_keys(text: str) -> list[tuple[str, bytes]]:
    """Names and keys of 32 bytes. Raises ValueError, which never repeats a key."""
    keys: list[tuple[str, bytes]] = []
    for part in text.split(","):
        name, colon, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not colon or not _KEY_NAME.fullmatch(name) or len(key) != _SECRET_KEY_BYTES:
            raise ValueError("expected NAME:BASE64 of 32 bytes, as `openssl rand -base64 32` makes them")
        if name in {other for other, _ in keys}:
            raise ValueError(f"expected different names, {name} is there twice")
        keys.append((name, key))
    return keys


def _webhook_keys(secret: SecretStr) -> SecretStr:
    _read_webhook_keys(secret.get_secret_value())
    return secret


HttpUrl = Annotated[str, AfterValidator(_http_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
PublishableKey = Annotated[SecretStr, AfterValidator(_publishable_key)]
WebhookKeys = Annotated[SecretStr, AfterValidator(_webhook_keys)]
ClockTime = Annotated[str, AfterValidator(_clock_time)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class Settings(BaseSettings):
    """Everything an operator can set, units as the names say. Build it with `load_settings`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: DatabaseUrl = Field(description="PostgreSQL 18, postgresql://user@host:5432/name")
    psp_api_key: SecretStr = Field(min_length=8, description="secret key of the payment service provider")
    psp_publishable_key: PublishableKey | None = Field(
        None, description="key that drivers' apps show the provider; no secret"
    )
    psp_webhook_secret: SecretStr = Field(
        min_length=8, description="signing secret of the provider's webhooks"
    )
    psp_base_url: HttpUrl | None = Field(
        None, description="address of a sandbox PSP; default: the provider's own"
    )
    psp_timeout_seconds: float = Field(
        20.0,
        gt=0,
        le=80,
        description="time limit of a request to the provider; after it the outcome is unknown",
    )
    environment: Environment = Field(Environment.SANDBOX, description="sandbox or production")
    clock: ClockSource = Field(
        ClockSource.SYSTEM, description="system, or market for a simulated business day"
    )

    host: str = Field("127.0.0.1", min_length=1, description="address that serve listens on")
    port: int = Field(8080, ge=0, le=65_535, description="port that serve listens on; 0 takes a free one")
    public_url: HttpUrl | None = Field(
        None, description="address at which others reach the gateway; default: http://host:port"
    )
    tls_certificate_path: str | None = Field(None, description="PEM chain; with it serve speaks TLS")
    tls_key_path: str | None = Field(None, description="PEM key of the certificate")
    tls_client_ca_path: str | None = Field(
        None, description="PEM authorities of client certificates, for mutual TLS"
    )
    request_timeout_seconds: float = Field(30.0, gt=0, le=300)
    max_body_bytes: int = Field(1_048_576, ge=1024, le=67_108_864)
    shutdown_grace_seconds: float = Field(
        20.0, gt=0, le=300, description="time to finish open requests and tasks at a stop"
    )
    admin_api_key: LongSecret | None = Field(None, description="becomes the platform's first API key")

    webhook_encryption_keys: WebhookKeys | None = Field(
        None,
        description="keys that encrypt webhook secrets, NAME:BASE64[,...], the one for new secrets first",
    )

    workers_in_process: bool = Field(
        default=False, description="serve runs the workers too, for small installations"
    )
    worker_parallel_shards: int = Field(
        8, ge=1, le=64, description="shards that one worker process works on at once"
    )
    worker_batch_size: int = Field(
        500, ge=1, le=10_000, description="sessions cleared in one transaction at most"
    )
    worker_poll_ms: int = Field(200, ge=10, le=60_000, description="pause of an idle shard")
    worker_lease_seconds: int = Field(60, ge=5, le=3600, description="after it another worker may take over")

    bank_account_path: str | None = Field(
        None, description="JSON of the account that pays by bank: name, iban, bic, address"
    )
    bank_outbox_path: str | None = Field(None, description="directory that payment files are written to")
    bank_inbox_path: str | None = Field(None, description="directory that the bank's messages are read from")
    bank_cut_off: ClockTime = Field(
        "11:00", description="no payment file is created from this time of day on, HH:MM"
    )
    bank_time_zone: ZoneName = Field("Europe/Zurich", description="the bank's time zone")

    vies_url: HttpUrl | None = Field(
        None, description="REST address of VIES; VAT ids are checked again there; default: never"
    )
    vat_recheck_days: int = Field(30, ge=1, le=366, description="age at which a VAT id's evidence is renewed")
    ecb_rates_url: HttpUrl | None = Field(
        None,
        description="the ECB's file of exchange rates, fetched daily; default: a person imports it",
    )
    close_books_after_days: int | None = Field(
        None,
        ge=1,
        le=366,
        description="days after a month's end when it is closed; default: a person closes it",
    )

    database_pool_min: int = Field(2, ge=0, le=500)
    database_pool_max: int = Field(10, ge=1, le=500)
    database_connect_timeout_seconds: float = Field(10.0, gt=0, le=120)
    database_statement_timeout_ms: int = Field(30_000, ge=100, le=3_600_000)

    log_format: LogFormat = Field(LogFormat.JSON, description="json or console")
    log_level: LogLevel = Field(LogLevel.INFO, description="debug, info, warning or error")

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load_settings` gathered, so that the order and the errors are ours."""
        return (init_settings,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.database_pool_min > self.database_pool_max:
            raise ValueError("NETWORKCORE_DATABASE_POOL_MIN is above NETWORKCORE_DATABASE_POOL_MAX")
        if (self.tls_certificate_path is None) != (self.tls_key_path is None):
            raise ValueError("NETWORKCORE_TLS_CERTIFICATE_PATH and NETWORKCORE_TLS_KEY_PATH go together")
        if self.tls_client_ca_path is not None and self.tls_certificate_path is None:
            raise ValueError("NETWORKCORE_TLS_CLIENT_CA_PATH needs NETWORKCORE_TLS_CERTIFICATE_PATH")
        if (self.bank_account_path is None) != (self.bank_outbox_path is None):
            raise ValueError("NETWORKCORE_BANK_ACCOUNT_PATH and NETWORKCORE_BANK_OUTBOX_PATH go together")
        if self.bank_inbox_path is not None and self.bank_inbox_path == self.bank_outbox_path:
            raise ValueError("NETWORKCORE_BANK_INBOX_PATH and NETWORKCORE_BANK_OUTBOX_PATH are one directory")
        if self.psp_publishable_key is not None:
            modes = {_key_mode(key) for key in (self.psp_api_key, self.psp_publishable_key)} - {None}
            if len(modes) > 1:
                raise ValueError(
                    "NETWORKCORE_PSP_PUBLISHABLE_KEY and NETWORKCORE_PSP_API_KEY differ: one is a test key"
                )
        if self.environment is Environment.PRODUCTION:
            if self.clock is not ClockSource.SYSTEM:
                raise ValueError("NETWORKCORE_CLOCK must be system in production")
            if self.psp_base_url is not None and not self.psp_base_url.startswith("https://"):
                raise ValueError("NETWORKCORE_PSP_BASE_URL must be https in production")
            if self.public_url is None or not self.public_url.startswith("https://"):
                raise ValueError("NETWORKCORE_PUBLIC_URL must be set and https in production")
            if self.ecb_rates_url is not None and not self.ecb_rates_url.startswith("https://"):
                raise ValueError("NETWORKCORE_ECB_RATES_URL must be https in production")
            if self.webhook_encryption_keys is None:
                raise ValueError("NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS must be set in production")
        return self

    @property
    def webhook_keys(self) -> list[tuple[str, bytes]]:
        """The keys that encrypt webhook secrets, the one for new secrets first.

        Without a key they are stored in the clear.
        """
        keys = self.webhook_encryption_keys
        return [] if keys is None else _read_webhook_keys(keys.get_secret_value())

    @property
    def base_url(self) -> str:
        """How others reach this gateway: `public_url`, else host and port."""
        scheme = "http" if self.tls_certificate_path is None else "https"
        return self.public_url or f"{scheme}://{self.host}:{self.port}"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings that the file, the secret files and `environ` give.

    Raises:
        ConfigurationError: a setting is missing, wrong or unknown, or a named file can't be read. One line.
    """
    values = _gather(environ)
    try:
        return Settings(**{name: one.value for name, one in values.items()})
    except ValidationError as error:
        raise ConfigurationError(_one_line(error, values)) from None


def load_inbox_path(environ: Mapping[str, str]) -> str | None:
    """The directory that the bank's messages are read from, alone; None where there is none.

    Raises:
        ConfigurationError: a named file can't be read.
    """
    given = _gather(environ).get("bank_inbox_path")
    return str(given.value) if given is not None and given.value else None


def load_database_url(environ: Mapping[str, str]) -> str:
    """Return the database's URL alone, for commands that need nothing else.

    Raises:
        ConfigurationError: it is missing or wrong, or a named file can't be read.
    """
    given = _gather(environ).get("database_url")
    if given is None or not isinstance(given.value, str) or not given.value:
        raise ConfigurationError("DATABASE_URL is missing: set it, or NETWORKCORE_DATABASE_URL_FILE")
    try:
        return _database_url(SecretStr(given.value)).get_secret_value()
    except ValueError as error:
        raise ConfigurationError(f"{given.place} is invalid: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A value and the place it was set at, such as `port in gateway.toml`."""

    value: Any
    place: str


def _gather(environ: Mapping[str, str]) -> dict[str, _Given]:
    """What is set, by setting; the environment is above secret files, and these above the config file."""
    return _from_file(environ) | _from_environment(environ)


def _from_file(environ: Mapping[str, str]) -> dict[str, _Given]:
    name = environ.get(_CONFIG)
    if not name:
        return {}
    try:
        values = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{_CONFIG} names {name}, which can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_CONFIG} names {name}, which is not TOML: {error}") from None
    for key in values:
        if key not in Settings.model_fields:
            raise ConfigurationError(
                f"{key} in {name} is not a setting{_suggestion(key, Settings.model_fields)}"
            )
    return {key: _Given(value=value, place=f"{key} in {name}") for key, value in values.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    variables = {f"{PREFIX}{field.upper()}": field for field in Settings.model_fields}
    values: dict[str, _Given] = {}
    for variable, field in [("DATABASE_URL", "database_url"), *variables.items()]:
        named = f"{variable}{_FILE_SUFFIX}"
        path, direct = environ.get(named), environ.get(variable)
        if path:
            content = _secret_file(path, variable=named)
            values[field] = _Given(value=content, place=f"{variable} in {path}, named by {named},")
        if direct:
            values[field] = _Given(value=direct, place=variable)
    known = {
        _CONFIG,
        f"{PREFIX}TRACEBACK",
        *variables,
        *(f"{variable}{_FILE_SUFFIX}" for variable in variables),
    }
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            hint = _suggestion(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known))
            raise ConfigurationError(f"{variable} is not a setting{hint}")
    return values


def _secret_file(path: str, *, variable: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_SECRET_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{variable} names {path}, which can't be read: {error.strerror}") from None
    if len(content) > _MAX_SECRET_FILE_BYTES:
        raise ConfigurationError(
            f"{variable} names {path}, which is longer than {_MAX_SECRET_FILE_BYTES} bytes"
        )
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} names {path}, which is not UTF-8 text") from None


def _suggestion(name: str, known: Iterable[str]) -> str:
    """A known name that is near enough to be meant, else nothing. Variables come without their prefix."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=_LIKENESS)
    if not near:
        return ""
    return f"; did you mean {PREFIX if name.isupper() else ''}{near[0]}?"


def _one_line(error: ValidationError, given: Mapping[str, _Given]) -> str:
    """Every problem in our words: the validation library's texts never reach an operator."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        own = detail.get("ctx", {}).get("error")  # the ValueError of a check of ours
        if not detail["loc"]:
            problems.append(str(own))
            continue
        name = str(detail["loc"][0])
        field = Settings.model_fields[name]
        variable = "DATABASE_URL" if name == "database_url" else f"{PREFIX}{name.upper()}"
        if name not in given:
            problems.append(
                f"{variable} is missing: set it, or {variable}{_FILE_SUFFIX} ({field.description})"
            )
            continue
        expected = f"expected {_allowed(field)}" if own is None else str(own)
        problems.append(f"{given[name].place} is invalid: {expected}{_shown(field, given[name].value)}")
    return "; ".join(problems)


def _shown(field: FieldInfo, value: Any) -> str:
    """The value as it was given, or nothing for a secret and for what is too long to be a slip."""
    text = repr(value) if isinstance(value, str) else str(value)
    if SecretStr in _types(field) or len(text) > _MOST_SHOWN:
        return ""
    return f", got {text}"


def _types(field: FieldInfo) -> tuple[Any, ...]:
    """The types that the setting may have, without what is checked of them: one, or one and None."""
    members = get_args(field.annotation) or (field.annotation,)
    return tuple(get_args(one)[0] if get_origin(one) is Annotated else one for one in members)


def _allowed(field: FieldInfo) -> str:
    """What a setting may be, from its type and its bounds."""
    kind = next(one for one in _types(field) if one is not type(None))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(member.value for member in kind)
    if kind is bool:
        return "true or false"
    bounds = [
        text.format(getattr(one, name))
        for one in field.metadata
        for name, text in _BOUNDS.items()
        if hasattr(one, name)
    ]
    noun = {int: "a whole number", float: "a number"}.get(kind, "text")
    return " ".join([noun, " and ".join(bounds)]).strip()
