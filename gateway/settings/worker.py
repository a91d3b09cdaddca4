"""The settings of workers: how much one takes at once, how long it holds it, where its health is asked.

Owns: these settings. Must not know who uses them; `gateway.config` reads them with the others.
"""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerSettings(BaseSettings):
    """How workers find, take and gather work."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workers_in_process: bool = Field(
        default=False, description="serve runs the workers too, for small installations"
    )
    worker_parallel_shards: int = Field(
        8, ge=1, le=64, description="shards that one worker process works on at once"
    )
    worker_batch_size: int = Field(
        500, ge=1, le=10_000, description="sessions cleared in one transaction at most"
    )
    worker_poll_ms: int = Field(200, ge=10, le=60_000, description="first pause of an idle job")
    worker_gather_ms: int = Field(250, ge=0, le=5000, description="least time from one batch to the next")
    worker_lease_seconds: int = Field(60, ge=5, le=3600, description="after it another worker may take over")

    worker_health_host: str = Field(
        "127.0.0.1", min_length=1, description="address that a worker answers health checks on"
    )
    worker_health_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="port of a worker's GET /healthz; 0 takes a free one; default: none",
    )
