"""Providers: to which party a provider id of eMAIDs belongs, and that nobody else stores contracts under it.

Owns: the form of a provider id, and that one rule. Must not know HTTP, or who may register a provider.
Source: ISO 15118-2 annex H (an eMAID begins with the country and the provider id, which an authority of the
country assigns); hubject/opcp, OPCP-1.0.0, docs/04_authentication.md (access by these five characters).
"""

import re
from datetime import datetime
from typing import Any, Final

from pnc.errors import UnfitContractError, UnknownRecordError
from pnc.ports import Connection, Executor, one_connection
from pnc.repository import providers, trust

_PROVIDER: Final = re.compile(r"([A-Z]{2})[-*]?([A-Z0-9]{3})", re.ASCII)
_LENGTH: Final = 5


def provider_of(text: str) -> str:
    """The provider id in one form: `de-8aa` is `DE8AA`. Raises UnfitContractError."""
    found = _PROVIDER.fullmatch(text.upper()) if text.isascii() else None
    if found is None:
        raise UnfitContractError(
            path="provider_id", problem="expected a country and a provider, such as DE8AA or DE-8AA"
        )
    return f"{found[1]}{found[2]}"


async def register_provider(
    executor: Executor, provider_id: str, *, environment: str, party: str, now: datetime
) -> str:
    """Register a provider as a party's, or as another party's from now on; returns it in one form.

    Contracts that others have stored under it stay; they can't be brought up to date. Raises
    UnfitContractError.
    """
    provider = provider_of(provider_id)
    async with one_connection(executor) as connection, connection.transaction():
        await trust.ensure_environment(connection, environment=environment)
        await providers.put_provider(
            connection, environment=environment, provider_id=provider, party=party, now=now
        )
    return provider


async def remove_provider(executor: Executor, provider_id: str, *, environment: str) -> None:
    """Remove a provider's registration. Raises UnfitContractError, UnknownRecordError."""
    provider = provider_of(provider_id)
    if not await providers.delete_provider(executor, environment=environment, provider_id=provider):
        raise UnknownRecordError(f"the provider {provider} is not registered in {environment}")


async def list_providers(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """Providers that are registered or under which contracts are stored, as plain values.

    `parties` have stored contracts under it, other than cancelled ones; `disputed`: others than its own.
    """
    return await providers.list_providers(executor, environment=environment)


async def check_provider(connection: Connection, emaid: str, *, environment: str, party: str) -> None:
    """Check that no other party has the provider of an eMAID's body. Raises UnfitContractError."""
    provider = emaid[:_LENGTH]
    owner = await providers.find_party(connection, environment=environment, provider_id=provider)
    if owner not in {None, party}:
        raise UnfitContractError(
            path="emaid", problem=f"its provider {provider} is registered for another party"
        )
