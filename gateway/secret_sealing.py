"""Every secret that we must send again, sealed with the first key of the settings.

Owns: the list of where such secrets are. Must not know how a secret is sealed. What is only compared (API
keys, the tokens that OCPI peers send us) is stored as its hash and is not here; the keys of the PSP, of banks
and of our own certificate pool are files of the operator and are never stored.
"""

from dataclasses import dataclass

from gateway.acts.act import Act, acting
from gateway.database import UNIT_OF_WORK, Pool
from gateway.ocpi.token_sealing import seal_peer_tokens
from gateway.plug_and_charge.contract_pool_service import reencrypt_feed_secrets
from gateway.webhooks.key_rotation import reencrypt
from gateway.webhooks.secret_cipher import SecretCipher


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecrets:
    """How many secrets of each kind were sealed anew."""

    webhook_endpoints: int
    contract_pool_feeds: int
    ocpi_peers: int


async def seal_secrets(pool: Pool, cipher: SecretCipher) -> SealedSecrets:
    """Seal with the first key what another key or none has sealed; without a key only check what is sealed.

    Raises:
        ConfigurationError: no key of the settings opens a stored secret.
    """
    with acting(UNIT_OF_WORK.get() or Act(operation="seal secrets", principal="job:seal_secrets")):
        return SealedSecrets(
            webhook_endpoints=await reencrypt(pool, cipher),
            contract_pool_feeds=await reencrypt_feed_secrets(pool, cipher),
            ocpi_peers=await seal_peer_tokens(pool, cipher),
        )
