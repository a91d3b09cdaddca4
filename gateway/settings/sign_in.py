"""The settings of people's sign-in: the OpenID provider, and how long a session lasts.

Owns: these settings and what goes together. Must not know who uses them; `gateway.config` reads them with the
others.
"""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SignInSettings(BaseSettings):
    """How people sign in to the console. Without a provider they use one-time links."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    oidc_issuer: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+[^\s?#/]$",
        description="issuer of the OpenID provider for people's sign-in; default: one-time links only",
    )
    oidc_client_id: str | None = Field(None, min_length=1, description="this gateway's client id there")
    oidc_client_secret: SecretStr | None = Field(
        None, min_length=8, description="its secret there; default: none, PKCE alone"
    )
    oidc_scope: str = Field(
        "openid email profile", pattern=r"^openid( [!-~]+)*$", description="what is asked of the provider"
    )
    oidc_name: str = Field(
        "single sign-on", min_length=1, max_length=60, description="what the sign-in page calls the provider"
    )
    console_idle_minutes: int = Field(
        30, ge=1, le=1440, description="minutes without a request after which a person is signed out"
    )
    console_session_hours: int = Field(
        12, ge=1, le=168, description="hours after which a person signs in again"
    )

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_client_id is None):
            raise ValueError("NETWORKCORE_OIDC_ISSUER and NETWORKCORE_OIDC_CLIENT_ID go together")
        production = getattr(self, "environment", None) == "production"
        if production and self.oidc_issuer is not None and not self.oidc_issuer.startswith("https://"):
            raise ValueError("NETWORKCORE_OIDC_ISSUER must be https in production")
        return self

    @property
    def console_idle(self) -> timedelta:
        """How long a session may be idle."""
        return timedelta(minutes=self.console_idle_minutes)

    @property
    def console_session(self) -> timedelta:
        """How long a session lasts at most."""
        return timedelta(hours=self.console_session_hours)
