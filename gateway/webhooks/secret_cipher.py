"""Secrets at rest that we must send or sign with again: encrypted with a key of the settings.

Owns: the encrypted form (AES-256-GCM: 12 bytes of nonce, then ciphertext and tag, bound to the id
of what it belongs to), and which key encrypts. Must not know where rows are stored. Without a key secrets are
kept in the clear, as a sandbox does.

The first key encrypts; every key decrypts. To change it, give the new one to all processes as a second, then
put it first: the next start encrypts everything again, and the old one may be removed.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import ConfigurationError
from gateway.webhooks.repository import SecretRecord

_NONCE_BYTES = 12
_SETTING = "NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS"


@dataclass(frozen=True, slots=True)
class SecretCipher:
    """Encrypts and decrypts; `keys` are (name, 32 bytes), the encrypting one first."""

    keys: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    _ciphers: dict[str, AESGCM] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Build each key's cipher once."""
        self._ciphers.update((name, AESGCM(key)) for name, key in self.keys)

    @property
    def key_name(self) -> str | None:
        """The name of the key that encrypts; None: secrets stay in the clear."""
        return self.keys[0][0] if self.keys else None

    def encrypt(self, endpoint_id: UUID, secret: bytes) -> SecretRecord:
        """The form in which a secret is stored; it opens for the same id alone."""
        name = self.key_name
        if name is None:
            return SecretRecord(key=None, content=secret)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted = self._ciphers[name].encrypt(nonce, secret, endpoint_id.bytes)
        return SecretRecord(key=name, content=nonce + encrypted)

    def decrypt(self, endpoint_id: UUID, stored: SecretRecord) -> bytes:
        """The secret of what has this id. Raises ConfigurationError: no key has its name, or another one."""
        if stored.key is None:
            return stored.content
        cipher = self._ciphers.get(stored.key)
        if cipher is None:
            raise ConfigurationError(
                f"secrets are encrypted with the key {stored.key!r}, which {_SETTING} lacks: add it"
            )
        nonce, encrypted = stored.content[:_NONCE_BYTES], stored.content[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, encrypted, endpoint_id.bytes)
        except InvalidTag:
            raise ConfigurationError(
                f"a secret can't be decrypted with the key {stored.key!r} of {_SETTING}: "
                "another key has that name"
            ) from None
