"""The gateway's settings: environment variables ``FRAUD_*``, read once at the composition root."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
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
