"""Settings: one frozen object, read once from a file, from secret files and from the environment.

Owns everything that an operator can set, its default and its check. Must not know who uses a setting.

A setting `port` is read, weakest first, from `port = 8080` in the TOML file that NETWORKCORE_CONFIG names,
from the file that NETWORKCORE_PORT_FILE names (for secrets), and from NETWORKCORE_PORT. `DATABASE_URL` is
read as well, below NETWORKCORE_DATABASE_URL. A missing, invalid or unknown setting is a ConfigurationError of
one line: its name, where it was set, what is allowed. Values of secrets never appear.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from gateway.errors import ConfigurationError
from gateway.set_values import SetValue, describe_errors, read_set_values
from gateway.settings.console import ConsoleSettings
from gateway.settings.operations import DatabaseUrl, OperationsSettings, check_database_url
from gateway.settings.sign_in import SignInSettings
from gateway.settings.worker import WorkerSettings

_MIN_SECRET_LENGTH: Final = 16
_SECRET_KEY_BYTES: Final = 32
_PUBLISHABLE_KEY: Final = re.compile(r"pk_[A-Za-z0-9_]{4,250}")
_KEY_MODE: Final = re.compile(r"[a-z]{2}_(live|test)_")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
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


def _read_networks(given: Any) -> Any:
    """Networks, from text as it stands in the environment. Raises ValueError."""
    if not isinstance(given, str):
        return given
    try:
        return tuple(ip_network(part.strip()) for part in given.split(",") if part.strip())
    except ValueError:
        raise ValueError("expected networks such as 10.0.0.0/8,fd00::/8, each without host bits") from None


_NO_CURRENCY: Final = "none"


def _currency_list(text: str) -> str:
    if text.strip() == _NO_CURRENCY:
        return _NO_CURRENCY
    codes = [part.strip() for part in text.split(",")]
    for code in codes:
        if _CURRENCY.fullmatch(code) is None:
            raise ValueError("expected ISO 4217 codes such as EUR,CHF, or none")
    return ",".join(codes)


def currencies_of(codes: str | None) -> frozenset[str] | None:
    """A list of currencies as it is set; None: it is not set."""
    if codes is None:
        return None
    return frozenset() if codes == _NO_CURRENCY else frozenset(codes.split(","))


HttpUrl = Annotated[str, AfterValidator(_http_url)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
PublishableKey = Annotated[SecretStr, AfterValidator(_publishable_key)]
WebhookKeys = Annotated[SecretStr, AfterValidator(_webhook_keys)]
CurrencyList = Annotated[str, AfterValidator(_currency_list)]
ClockTime = Annotated[str, AfterValidator(_clock_time)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_read_networks)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class Settings(OperationsSettings, SignInSettings, ConsoleSettings, WorkerSettings):
    """Everything an operator can set, units as the names say. Build it with `load_settings`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: DatabaseUrl = Field(description="PostgreSQL 16 to 18, postgresql://user@host:5432/name")
    psp_api_key: SecretStr = Field(min_length=8, description="secret key of the payment service provider")
    psp_publishable_key: PublishableKey | None = Field(
        None, description="key that drivers' apps show the provider; no secret"
    )
    psp_webhook_secret: SecretStr = Field(
        min_length=8, description="signing secrets of the provider's webhook endpoints, separated by commas"
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
    plug_and_charge_patience_seconds: float = Field(
        8.0,
        gt=0,
        le=60,
        description="how long a station waits for a vehicle's payment; after it the answer is 503",
    )
    contract_pool_url: HttpUrl | None = Field(
        None,
        description="contract certificate pool for stations' Get15118EVCertificate; default: none",
    )
    contract_pool_token: SecretStr | None = Field(
        None, min_length=8, description="bearer token at the contract certificate pool"
    )
    contract_pool_timeout_seconds: float = Field(
        4.0, gt=0, le=30, description="time limit of a request to the contract certificate pool"
    )
    psp_incremental_authorization: Literal["auto", "on", "off"] = Field(
        "auto", description="ask for holds that may be raised; auto: until the account is refused them"
    )
    psp_overcapture: Literal["auto", "on", "off"] = Field(
        "auto", description="ask to capture above a hold; auto: until the account is refused it"
    )
    psp_statement_suffix: Literal["none", "cpo", "site"] = Field(
        "cpo", description="what a card statement says after the account's name: operator or location"
    )
    psp_top_up_currencies: CurrencyList | None = Field(
        None, description="currencies that the account can be topped up in, EUR,CHF; none; default: all"
    )
    psp_settlement_currencies: CurrencyList | None = Field(
        None,
        description="currencies that settle unconverted, EUR,CHF; none; default: as the PSP says",
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
    trusted_proxies: Networks = Field(
        (),
        description="networks of your proxies, 10.0.0.0/8[,...]; only their X-Forwarded-For is believed",
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

    chart_of_accounts_path: str | None = Field(
        None, description="CSV of the chart of accounts for exports; without it the bundled one counts"
    )
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

    party_checks: Literal["auto", "required", "off"] = Field(
        "auto", description="pay only parties whose checks are valid; auto: in production"
    )
    sanctions_list_path: str | None = Field(
        None, description="sanctions list, the EU's XML or CSV; default: screenings are recorded by hand"
    )
    retention_path: str | None = Field(None, description="TOML of other periods of personal data")

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
        if (self.contract_pool_url is None) != (self.contract_pool_token is None):
            raise ValueError("NETWORKCORE_CONTRACT_POOL_URL and NETWORKCORE_CONTRACT_POOL_TOKEN go together")
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
            if self.contract_pool_url is not None and not self.contract_pool_url.startswith("https://"):
                raise ValueError("NETWORKCORE_CONTRACT_POOL_URL must be https in production")
            if self.webhook_encryption_keys is None:
                raise ValueError("NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS must be set in production")
        return self

    @property
    def direct_url(self) -> str:
        """The database's address past a pooler."""
        return (self.direct_database_url or self.database_url).get_secret_value()

    @property
    def close_books_after(self) -> timedelta | None:
        """How long after its end a month is closed; None: a person closes it."""
        return None if self.close_books_after_days is None else timedelta(days=self.close_books_after_days)

    @property
    def webhook_keys(self) -> list[tuple[str, bytes]]:
        """The keys that seal what we must send again, that for new secrets first; none: in the clear."""
        keys = self.webhook_encryption_keys
        return [] if keys is None else _read_webhook_keys(keys.get_secret_value())

    @property
    def top_up_currencies(self) -> frozenset[str] | None:
        """The currencies that the PSP's account can be topped up in; None: all."""
        return currencies_of(self.psp_top_up_currencies)

    @property
    def base_url(self) -> str:
        """How others reach this gateway: `public_url`, else host and port."""
        return base_url_of(
            public_url=self.public_url,
            host=self.host,
            port=self.port,
            tls_certificate_path=self.tls_certificate_path,
        )


def base_url_of(*, public_url: str | None, host: str, port: int, tls_certificate_path: str | None) -> str:
    """How others reach a gateway with these settings."""
    return public_url or f"{'http' if tls_certificate_path is None else 'https'}://{host}:{port}"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings that the file, the secret files and `environ` give.

    Raises:
        ConfigurationError: a setting is missing, wrong or unknown, or a named file can't be read. One line.
    """
    values = read_set_values(environ, Settings.model_fields)
    try:
        return Settings(**{name: one.value for name, one in values.items()})
    except ValidationError as error:
        raise ConfigurationError(describe_errors(error, values, Settings.model_fields)) from None


def load_some_settings(environ: Mapping[str, str], *names: str) -> dict[str, Any]:
    """These settings alone, for a command that needs no others; each is checked as by `load_settings`.

    Raises:
        ConfigurationError: one of them is missing or wrong, or any setting is unknown. One line.
    """
    given = read_set_values(environ, Settings.model_fields)
    fields = {name: (Settings.model_fields[name].annotation, Settings.model_fields[name]) for name in names}
    model = create_model("SomeSettings", **cast("Any", fields))
    try:
        found = model(**{name: given[name].value for name in names if name in given})
    except ValidationError as error:
        raise ConfigurationError(describe_errors(error, given, Settings.model_fields)) from None
    return {name: getattr(found, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """What a command needs that calls OCPI peers: the database and how others reach this gateway, no PSP."""

    database_url: str
    environment: Environment
    base_url: str
    webhook_keys: Sequence[tuple[str, bytes]] = field(default=(), repr=False)


def load_platform_settings(environ: Mapping[str, str]) -> PlatformSettings:
    """Return the settings of the platform alone; the PSP's may be missing.

    Raises:
        ConfigurationError: as `load_settings`.
    """
    values = read_set_values(environ, Settings.model_fields)
    for name in ("psp_api_key", "psp_webhook_secret"):
        values.setdefault(name, SetValue(value="not needed here", place=name))
    try:
        settings = Settings(**{name: one.value for name, one in values.items()})
    except ValidationError as error:
        raise ConfigurationError(describe_errors(error, values, Settings.model_fields)) from None
    return PlatformSettings(
        database_url=settings.database_url.get_secret_value(),
        environment=settings.environment,
        base_url=settings.base_url,
        webhook_keys=settings.webhook_keys,
    )


def load_inbox_path(environ: Mapping[str, str]) -> str | None:
    """The directory that the bank's messages are read from, alone; None where there is none.

    Raises:
        ConfigurationError: a named file can't be read.
    """
    given = read_set_values(environ, Settings.model_fields).get("bank_inbox_path")
    return str(given.value) if given is not None and given.value else None


def load_database_url(environ: Mapping[str, str]) -> str:
    """Return the database's URL alone, past a pooler where one is set, for commands that need nothing else.

    Raises:
        ConfigurationError: it is missing or wrong, or a named file can't be read.
    """
    values = read_set_values(environ, Settings.model_fields)
    given = values.get("direct_database_url") or values.get("database_url")
    if given is None or not isinstance(given.value, str) or not given.value:
        raise ConfigurationError("DATABASE_URL is missing: set it, or NETWORKCORE_DATABASE_URL_FILE")
    try:
        return check_database_url(SecretStr(given.value)).get_secret_value()
    except ValueError as error:
        raise ConfigurationError(f"{given.place} is invalid: {error}") from None
