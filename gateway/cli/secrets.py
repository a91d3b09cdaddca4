"""`networkcore secrets`: what is sealed at rest, sealed anew with the first key.

Owns: the options and what is printed. Must not know how a secret is sealed, or where it is.
"""

import asyncio
import os
from dataclasses import asdict

import click

from gateway.cli.command_group import CommandGroup
from gateway.cli.transaction import open_pool
from gateway.config import load_platform_settings
from gateway.secret_sealing import SealedSecrets, seal_secrets
from gateway.webhooks.secret_cipher import SecretCipher


@click.group(name="secrets", cls=CommandGroup)
def command() -> None:
    """Seal the secrets that are stored because we must send them again."""


@command.command(name="seal")
def seal_command() -> None:
    """Seal every stored secret with the first key of NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS.

    Webhook secrets, the secrets of contract pools and the tokens that we send to OCPI peers. Every start of a
    gateway or worker does the same. Exit status 2 if a key that sealed one of them is missing.
    """
    for kind, count in asdict(asyncio.run(_seal())).items():
        click.echo(f"{kind.replace('_', ' ')}: {count} sealed")


async def _seal() -> SealedSecrets:
    cipher = SecretCipher(load_platform_settings(os.environ).webhook_keys)
    if cipher.key_name is None:
        raise click.UsageError("no key is set; set NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS")
    async with open_pool("secrets seal") as pool:
        return await seal_secrets(pool, cipher)
