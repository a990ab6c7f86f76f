"""Who reaches the gateway, with what, and how often; a part of `serving.settings`, which reads them all."""

from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self

from limits import parse
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SHORTEST_SECRET: Final = 32


class AccessSettings(BaseSettings):
    """Address, keys, limits and what browsers are told."""

    model_config = SettingsConfigDict(env_prefix="FRAUD_", frozen=True, validate_by_name=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port to listen on.")
    require_keys: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Whether requests need an API key. auto: unless the address is a loopback one and no key was ever "
        "made; false is refused on any other address.",
    )
    bootstrap_key: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Secret that becomes the first API key, with every scope; at least 32 random characters. Take it "
        "away once other keys exist.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Secret that MLflow signs its webhook to /hooks/registry with; at least 32 random characters; "
        "empty: there is no such route.",
    )
    rate_limit: str = Field(
        "", description="Most requests of one key, or in open mode of one address, such as 600/minute; empty: no limit."
    )
    rate_limit_store: SecretStr | None = Field(
        None,
        description="redis://host:6379/0 shares the counts between processes; empty: each worker counts for itself.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins, separated by commas, whose pages may call the gateway; none by default."
    )
    hsts_seconds: int = Field(
        0,
        ge=0,
        description="How long browsers shall insist on HTTPS (Strict-Transport-Security); 0 says nothing of it.",
    )

    @model_validator(mode="after")
    def _closed_to_others(self) -> Self:
        if self.require_keys == "false" and not self.on_loopback:
            raise ValueError(
                "FRAUD_REQUIRE_KEYS=false is for loopback addresses only: anybody could read and label. Leave it out"
            )
        return self

    @field_validator("rate_limit")
    @classmethod
    def _understood(cls, value: str) -> str:
        if value:
            parse(value)
        return value

    @field_validator("bootstrap_key", "webhook_secret", "rate_limit_store", mode="before")
    @classmethod
    def _no_secret(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @property
    def on_loopback(self) -> bool:
        """Only this machine can reach the gateway."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def rate_limit_url(self) -> str:
        """Where requests are counted, with its password; empty: in this process."""
        return "" if self.rate_limit_store is None else self.rate_limit_store.get_secret_value()
