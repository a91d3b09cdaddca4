"""Signing secrets, headers and this process's keys: checked at the start, encrypted again after a change.

Owns: that pass over the endpoints. Must not know how a secret is encrypted, or what it signs.
"""

from typing import Final

from gateway.database import Pool, transaction
from gateway.webhooks import repository
from gateway.webhooks.repository import EndpointSecretsRecord, SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher

_PAGE: Final = 500


async def reencrypt(pool: Pool, cipher: SecretCipher) -> int:
    """Encrypt what the first key has not encrypted, in bounded transactions; how many endpoints were written.

    Raises ConfigurationError where no key of the settings decrypts a stored secret: it could not sign.
    """
    async with pool.acquire() as connection:
        for endpoint in await repository.list_one_of_each_key(connection):
            for stored in endpoint.all:
                cipher.decrypt(endpoint.id, stored)
    written = 0
    while cipher.key_name is not None:
        async with transaction(pool) as connection:
            page = await repository.list_encrypted_with_other_key(
                connection, key=cipher.key_name, limit=_PAGE
            )
            for endpoint in page:
                await repository.put_secrets(connection, _resealed(cipher, endpoint))
        written += len(page)
        if len(page) < _PAGE:
            break
    return written


def _resealed(cipher: SecretCipher, endpoint: EndpointSecretsRecord) -> EndpointSecretsRecord:
    def again(one: SecretRecord) -> SecretRecord:
        return cipher.encrypt(endpoint.id, cipher.decrypt(endpoint.id, one))

    return EndpointSecretsRecord(
        id=endpoint.id,
        secret=again(endpoint.secret),
        previous_secret=None if endpoint.previous_secret is None else again(endpoint.previous_secret),
        headers=None if endpoint.headers is None else again(endpoint.headers),
    )
