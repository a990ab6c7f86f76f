"""The gateway's settings: environment variables ``FRAUD_*``, read once at the composition root."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from limits import parse
from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """What an operator can choose; every field is an environment variable ``FRAUD_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="FRAUD_", frozen=True, validate_by_name=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port to listen on.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged; DEBUG adds a line for every request that is no prediction."
    )
    state_dir: Path = Field(
        Path("var/gateway"), description="Folder for everything that the gateway writes, the bundle cache included."
    )
    tracking_uri: str = Field(
        "http://127.0.0.1:5000",
        validation_alias=AliasChoices("FRAUD_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        description="MLflow server whose registry names the live version. MLflow's own variable is understood, so that "
        "one environment serves pipelines and gateway; FRAUD_TRACKING_URI wins where the gateway needs another.",
    )
    model_name: str = Field("fraud-ensemble", min_length=1, description="Registered model whose Production answers.")
    releases_uri: str = Field(
        "var/releases", description="Folder of promoted bundles, for a start while the MLflow server is down."
    )
    poll_seconds: float = Field(
        10.0, gt=0, description="Mean time between two looks at Production; without a model at most one second."
    )
    batch_threads: int = Field(0, ge=0, description="Cores that score one batch; 0 takes all.")
    batch_workers: int = Field(2, ge=1, description="Batches worked on at the same time; further ones wait.")
    max_batch_rows: int = Field(10_000, ge=1, description="Most transactions in one JSON batch.")
    max_body_bytes: int = Field(16 * 1024**2, ge=1024, description="Largest JSON body, in bytes.")
    max_upload_bytes: int = Field(
        2 * 1024**3, ge=1024, description="Largest CSV, Parquet or Arrow upload, in bytes; it is spooled to the disk."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins, separated by commas, whose pages may call the gateway; none by default."
    )
    hsts_seconds: int = Field(
        0,
        ge=0,
        description="How long browsers shall insist on HTTPS (Strict-Transport-Security); 0 says nothing of it.",
    )
    emf_namespace: str = Field(
        "",
        max_length=255,
        description="CloudWatch namespace of metrics in the log (embedded metric format); empty: none.",
    )
    emf_seconds: float = Field(
        10.0, gt=0, description="Longest time that figures wait for their line of CloudWatch metrics."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Decision database: sqlite:///path or postgresql://user:password@host/name; by default "
        "decisions.db in the state folder.",
    )
    require_keys: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Whether requests need an API key. auto: unless the address is a loopback one and no key was ever "
        "made; false is refused on any other address.",
    )
    bootstrap_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret that becomes the first API key, with every scope; at least 32 random characters. Take it "
        "away once other keys exist.",
    )
    rate_limit: str = Field(
        "", description="Most requests of one key, or in open mode of one address, such as 600/minute; empty: no limit."
    )
    rate_limit_store: SecretStr | None = Field(
        None,
        description="redis://host:6379/0 shares the counts between processes (needs the package redis or coredis); "
        "empty: each process counts for itself.",
    )

    @model_validator(mode="after")
    def _closed_to_others(self) -> Self:
        if self.require_keys == "false" and not self.on_loopback:
            raise ValueError("require_keys=false is for loopback addresses only: anybody could read and label")
        return self

    @field_validator("rate_limit")
    @classmethod
    def _understood(cls, value: str) -> str:
        if value:
            parse(value)
        return value

    @field_validator("database_url", "bootstrap_key", "rate_limit_store", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("releases_uri")
    @classmethod
    def _folder(cls, value: str) -> str:
        path = value.removeprefix("file://")
        if "://" in path:
            raise ValueError("only a local folder is understood")
        return path

    @property
    def bundle_cache(self) -> Path:
        """Folder of downloaded bundles, one subfolder per digest."""
        return self.state_dir / "bundles"

    @property
    def upload_spool(self) -> Path:
        """Folder of uploads in progress; they have no names in it and end with the process."""
        return self.state_dir / "uploads"

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
    def decisions_url(self) -> str:
        """The decision database's URL, with its password."""
        if self.database_url is None:
            return f"sqlite:///{self.state_dir}/decisions.db"
        return self.database_url.get_secret_value()

    @property
    def rate_limit_url(self) -> str:
        """Where requests are counted, with its password; empty: in this process."""
        return "" if self.rate_limit_store is None else self.rate_limit_store.get_secret_value()

    @property
    def decision_spool(self) -> Path:
        """Folder where decisions wait while the database is away."""
        return self.state_dir / "spool"
