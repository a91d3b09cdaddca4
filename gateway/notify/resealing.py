"""Stored signing secrets and the keys of this process: proved at the start, sealed anew after a change.

Owns: that walk over the endpoints. Must not know how a secret is sealed, or what it signs.
"""

from typing import Final

from gateway.database import Pool, transaction
from gateway.notify.secret_box import SecretBox
from gateway.store import webhooks

_PAGE: Final = 500


async def reseal(pool: Pool, box: SecretBox) -> int:
    """Seal what the first key has not sealed, in bounded transactions; how many endpoints were written.

    Raises ConfigurationError where a stored secret opens with no key of the settings: it could not sign.
    """
    async with pool.acquire() as connection:
        for endpoint in await webhooks.one_of_each_key(connection):
            for stored in endpoint.secrets:
                box.open(endpoint.id, stored)
    written = 0
    while box.key_name is not None:
        async with transaction(pool) as connection:
            page = await webhooks.sealed_otherwise(connection, key=box.key_name, limit=_PAGE)
            for endpoint in page:
                fresh = [box.seal(endpoint.id, box.open(endpoint.id, one)) for one in endpoint.secrets]
                await webhooks.put_secrets(connection, endpoint_id=endpoint.id, secrets=fresh)
        written += len(page)
        if len(page) < _PAGE:
            break
    return written
