"""The error tree of the sandbox.

SandboxError
├── EmbeddedPostgresError   the embedded PostgreSQL can't be started or used
├── SupervisorError         a child process did not become ready, or kept dying
└── MarketError             the simulated market got an answer that it did not plan (market/client.py)
"""


class SandboxError(Exception):
    """Base of what the sandbox rejects on purpose; its text says what to mend."""


class EmbeddedPostgresError(SandboxError):
    """The embedded PostgreSQL can't be started or used; the text says where and why."""


class SupervisorError(SandboxError):
    """A child process did not become ready, or kept dying."""
