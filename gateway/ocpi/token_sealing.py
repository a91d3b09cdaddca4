"""The tokens that we send to OCPI peers and the keys of this process: sealed again after a change of keys.

Owns: that pass over the peers. Must not know how a token is sealed, or what it is sent with.
"""

from gateway.database import Pool, transaction
from gateway.ocpi.repository import peers
from gateway.webhooks.secret_cipher import SecretCipher


async def seal_peer_tokens(pool: Pool, cipher: SecretCipher) -> int:
    """Seal what the first key has not sealed; how many peers were written.

    Raises ConfigurationError where no key of the settings opens a stored token.
    """
    written = 0
    while True:
        async with transaction(pool) as connection:
            page = await peers.list_tokens_of_other_keys(connection, key=cipher.key_name)
            for peer_id, stored in page:
                token = cipher.decrypt(peer_id, stored)
                if cipher.key_name is not None:
                    await peers.put_token(connection, peer_id, cipher.encrypt(peer_id, token))
                    written += 1
        if not page or cipher.key_name is None:
            return written
