"""Stored signing secrets and the keys of this process: checked at the start, encrypted again after a change.

Owns: that pass over the endpoints. Must not know how a secret is encrypted, or what it signs.
"""

from typing import Final

from gateway.database import Pool, transaction
from gateway.webhooks import repository
from gateway.webhooks.secret_cipher import SecretCipher

_PAGE: Final = 500


async def reencrypt(pool: Pool, cipher: SecretCipher) -> int:
    """Encrypt what the first key has not encrypted, in bounded transactions; how many endpoints were written.

    Raises ConfigurationError where no key of the settings decrypts a stored secret: it could not sign.
    """
    async with pool.acquire() as connection:
        for endpoint in await repository.list_one_of_each_key(connection):
            for stored in endpoint.secrets:
                cipher.decrypt(endpoint.id, stored)
    written = 0
    while cipher.key_name is not None:
        async with transaction(pool) as connection:
            page = await repository.list_encrypted_with_other_key(
                connection, key=cipher.key_name, limit=_PAGE
            )
            for endpoint in page:
                fresh = [
                    cipher.encrypt(endpoint.id, cipher.decrypt(endpoint.id, one)) for one in endpoint.secrets
                ]
                await repository.put_secrets(connection, endpoint_id=endpoint.id, secrets=fresh)
        written += len(page)
        if len(page) < _PAGE:
            break
    return written
