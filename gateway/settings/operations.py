"""Settings of an installation's operation: after a restore, behind a pooler, traced.

Owns: these settings, which `Settings` (gateway/config.py) inherits. Must not know: who uses a setting.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings


class RecoveryMode(StrEnum):
    """What an installation does after a restore of its database."""

    OFF = "off"
    CLOSED = "closed"  # the edge answers 503, the workers rest: for restore-check
    WORKING = "working"  # the edge answers 503, the workers run: what restore-check left is worked off


def check_database_url(secret: SecretStr) -> SecretStr:
    """Return the address of a PostgreSQL; ValueError for another, which never repeats it."""
    # Not urlsplit: its errors repeat the address, password included.
    if not secret.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("expected a URL such as postgresql://user@host:5432/name")
    return secret


DatabaseUrl = Annotated[SecretStr, AfterValidator(check_database_url)]


class OperationsSettings(BaseSettings):
    """How an installation is operated."""

    recovery_mode: RecoveryMode = Field(
        RecoveryMode.OFF, description="after a restore: closed for restore-check, then working, then off"
    )
    direct_database_url: DatabaseUrl | None = Field(
        None, description="address past a pooler, for migrations and commands; default: the database's"
    )
    database_session_settings: bool = Field(
        default=True,
        description="set timeouts and search_path at connect; false behind a pooler: the role has them",
    )
    database_statement_cache_size: int = Field(
        100, ge=0, le=10_000, description="prepared statements kept of a connection; 0 for a pooler without"
    )
    rate_limit_hosts: int = Field(
        1, ge=1, le=1000, description="hosts that a balancer spreads requests over: each takes its part"
    )
    tracing: bool = Field(
        default=False, description="send OpenTelemetry traces, as OTEL_EXPORTER_OTLP_ENDPOINT says"
    )
