"""What commands about personal data read of the settings, alone: they need no key of the PSP.

Owns: reading them where `serve` and `work` read theirs. Must not know what a setting means.
"""

import os

from gateway.config import Settings
from gateway.personal_data.rules import RetentionPolicy, load_policy
from gateway.set_values import read_set_values


def read_policy() -> RetentionPolicy:
    """The table of personal data, with the operator's changes. Raises ConfigurationError."""
    return load_policy(_read("retention_path"))


def read_environment() -> str:
    """Whether the money is real: `sandbox` or `production`. Raises ConfigurationError."""
    return _read("environment") or Settings.model_fields["environment"].default.value


def _read(name: str) -> str | None:
    given = read_set_values(os.environ, Settings.model_fields).get(name)
    return str(given.value) if given is not None and given.value else None
