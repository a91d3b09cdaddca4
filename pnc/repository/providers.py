"""Providers in PostgreSQL.

Owns: the translation between values and rows. Must not know who may register a provider.
"""

from datetime import datetime
from typing import Any, Final

from pnc.ports import Executor
from pnc.repository.queries import fetch_all, load_queries

_PROVIDERS: Final[Any] = load_queries("providers")


async def put_provider(
    executor: Executor, *, environment: str, provider_id: str, party: str, now: datetime
) -> None:
    """Register a provider as a party's; the same again changes nothing."""
    await _PROVIDERS.put_provider(
        executor, environment=environment, provider_id=provider_id, party=party, now=now
    )


async def delete_provider(executor: Executor, *, environment: str, provider_id: str) -> bool:
    """Remove a provider; False when it is not registered."""
    deleted = await _PROVIDERS.delete_provider(executor, environment=environment, provider_id=provider_id)
    return deleted is not None


async def find_party(executor: Executor, *, environment: str, provider_id: str) -> str | None:
    """The party of a provider, None where it is not registered."""
    found: str | None = await _PROVIDERS.party_of_provider(
        executor, environment=environment, provider_id=provider_id
    )
    return found


async def list_providers(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """Providers that are registered or in use, as plain values."""
    rows = await fetch_all(_PROVIDERS.list_providers(executor, environment=environment))
    return [dict(row) for row in rows]
