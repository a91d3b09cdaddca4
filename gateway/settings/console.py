"""The settings of the processes that serve the console, and of how much one of them does at once.

Owns: these settings. Must not know who uses them; `gateway.config` reads them with the others.
"""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ConsoleSettings(BaseSettings):
    """How people's pages are kept from holding up those who charge."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    console_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="port of their own for console processes, beside the gateway's; default: the gateway's",
    )
    console_pages_at_once: int = Field(
        4, ge=1, le=100, description="console pages that one process makes at once; others wait, then get 503"
    )
    console_streams: int = Field(
        100, ge=0, le=10_000, description="live views of the console that one process keeps open"
    )
    console_database_pool_max: int = Field(
        4, ge=1, le=500, description="database connections of a console process"
    )
    console_niceness: int = Field(
        10, ge=0, le=19, description="how much a console process yields to others, as nice has it"
    )
