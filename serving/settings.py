"""The gateway's settings: environment variables ``FRAUD_*``, read once when the process starts.

Also how they are shown: their help, and one line for each that cannot be used.
"""

import os
import shutil
import textwrap
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from limits import parse
from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode

from stores.error_text import masked
from stores.settings import NO_SECRET, SHORTEST_SECRET, PlatformSettings, secret_names, variables


class GatewaySettings(PlatformSettings):
    """Every setting of ``python -m serving``: those of the platform, and the gateway's own."""

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
        description="Secret that becomes the first API key, with every scope; at least 32 random characters. Unset "
        "it once other keys exist.",
    )
    rate_limit: str = Field(
        "", description="Most requests of one key, or in open mode of one address, such as 600/minute; empty: no limit."
    )
    rate_limit_store: SecretStr = Field(
        NO_SECRET,
        description="redis://host:6379/0 shares the counts between processes; empty: each worker counts for itself.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins, separated by commas, whose pages may call the gateway; none by default."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Without keys, names beside this machine's own that a request may be addressed to (its Host), "
        "separated by commas: a page of another site could otherwise read decisions through a name of its own.",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of proxies, separated by commas, whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; none by default, because any client can send these.",
    )
    hsts_seconds: int = Field(
        0,
        ge=0,
        description="How long browsers should insist on HTTPS (Strict-Transport-Security); 0 leaves the header out.",
    )
    workers: int = Field(1, ge=1, le=64, description="Processes that answer; each has its own model.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that is logged; DEBUG adds a line for every request that is not a prediction."
    )
    require_gate: bool = Field(
        False,
        description="Refuse a version that did not pass the gate and was not forced past it, such as one moved in "
        "MLflow's own page; the old one stays.",
    )
    poll_seconds: float = Field(
        10.0, gt=0, description="Mean time between two looks at Production; without a model at most one second."
    )
    answer_seconds: float = Field(
        10.0,
        gt=0,
        description="Longest time for a whole answer of MLflow or of S3, to which its size adds 2 s per MB: one that "
        "sends a byte now and then would keep the gateway from following the registry for ever.",
    )
    shadow_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the transactions that the version named Challenger scores too, without answering; 0: "
        "none is loaded. It takes a second model's memory.",
    )
    review_sample_rate: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Share of the approvals, drawn at random, that go to review along with the alerts; labels "
        "from alerts alone say nothing about the frauds that were let through.",
    )
    batch_threads: int = Field(
        0, ge=0, description="Cores that score one batch; 0 takes all, shared out among the workers."
    )
    batch_workers: int = Field(2, ge=1, description="Batches worked on at the same time; further ones wait.")
    max_batch_rows: int = Field(10_000, ge=1, description="Most transactions in one JSON batch.")
    max_body_bytes: int = Field(16 * 1024**2, ge=1024, description="Largest JSON body, in bytes.")
    max_upload_bytes: int = Field(
        2 * 1024**3, ge=1024, description="Largest CSV, Parquet or Arrow upload, in bytes; it is spooled to the disk."
    )
    max_connections: int = Field(
        1_000,
        ge=8,
        description="Most connections of one process; fewer where its open files (ulimit -n) are not 256 more. Then "
        "those that wait for their client the longest are closed for new ones.",
    )
    max_header_bytes: int = Field(
        65_536,
        ge=1_024,
        description="Longest header block with its address, in bytes; also of trailers and of chunk "
        "extensions. A longer one is answered by 431.",
    )
    max_headers: int = Field(100, ge=16, description="Most headers of a request.")
    header_seconds: float = Field(
        10.0, gt=0, description="How long a header block may take, from its connection or its first byte (408)."
    )
    body_seconds: float = Field(
        20.0,
        gt=0,
        description="How long a body may take beyond what FRAUD_BODY_BYTES_PER_SECOND gives it (408), and how long a "
        "client may leave its answer unread.",
    )
    body_bytes_per_second: int = Field(
        16_384,
        ge=1,
        description="Slowest rate at which a body may arrive; slower ones would hold memory that other requests need.",
    )
    idle_seconds: int = Field(
        75,
        ge=1,
        description="How long a connection stays open between two requests; longer than load balancers keep theirs "
        "(60 s on AWS), which would otherwise send requests into closing connections.",
    )
    body_memory_bytes: int = Field(
        64 * 1024**2, ge=1024**2, description="Memory of all bodies above 64 kB together; further ones get 503."
    )
    upload_disk_bytes: int = Field(
        4 * 1024**3, ge=1024**2, description="Disk of all uploads in progress together; further ones get 503."
    )
    upload_reserve_bytes: int = Field(
        256 * 1024**2,
        ge=0,
        description="What uploads leave free on their disk (507), because decisions wait on it while the database is "
        "unreachable.",
    )
    max_upload_rows: int = Field(
        1_000_000,
        ge=1,
        description="Most rows of a CSV, Parquet or Arrow upload. A few kilobytes of Parquet may hold any number, and "
        "each leaves some 200 bytes in the decision database; the command score is for larger tables.",
    )
    max_unpacked_bytes: int = Field(
        256 * 1024**2,
        ge=32 * 1024**2,
        description="Memory that unpacking a Parquet or Arrow upload may take, in bytes, in each of batch_workers "
        "processes: a page may become a million times its size.",
    )
    max_upload_seconds: float = Field(
        600.0,
        gt=0,
        description="Longest work on one upload, so that none keeps a worker for good; a client that reads its answer "
        "slowly is not counted.",
    )
    emf_seconds: float = Field(
        10.0, gt=0, description="Longest time that figures wait for their line of CloudWatch metrics."
    )

    @model_validator(mode="after")
    def _closed_to_others(self) -> Self:
        if self.require_keys == "false" and not self.on_loopback:
            raise ValueError(
                "FRAUD_REQUIRE_KEYS=false is for loopback addresses only: anyone could read and label. Leave it out"
            )
        return self

    @field_validator("rate_limit")
    @classmethod
    def _understood(cls, value: str) -> str:
        if value:
            parse(value)
        return value

    @field_validator("bootstrap_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("cors_origins", "allowed_hosts", "trusted_proxies", mode="before")
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
        return self.rate_limit_store.get_secret_value()

    @property
    def bundle_cache(self) -> Path:
        """Folder of downloaded bundles, one subfolder per digest."""
        return self.gateway_dir / "bundles"

    @property
    def upload_spool(self) -> Path:
        """Folder of uploads in progress; they have no names in it and end with the process."""
        return self.gateway_dir / "uploads"

    @property
    def threads(self) -> int:
        """Cores that score one batch; 0 takes all."""
        if self.batch_threads or self.workers == 1:
            return self.batch_threads
        return max(1, (os.cpu_count() or 1) // self.workers)


_WIDEST_HELP: Final = 100


def settings_help() -> str:
    """Every setting with its default and description, for ``--help``."""
    lines = []
    width = min(shutil.get_terminal_size().columns, _WIDEST_HELP)
    for name, field in GatewaySettings.model_fields.items():
        default = "" if field.default in ((), None, "", NO_SECRET) else f" [{field.default}]"
        lines.append(f"  {' or '.join(variables(GatewaySettings, name))}{default}\n")
        lines += [
            f"      {line}\n" for line in textwrap.wrap(field.description or "", width - 6, break_on_hyphens=False)
        ]
    return "".join(lines)


_SECRET: Final = secret_names(GatewaySettings)


def faults(error: ValidationError) -> str:
    """What pydantic found, one line for each setting, without the values of secret ones."""
    return "".join(_fault(dict(fault)) for fault in error.errors(include_url=False))


def _fault(fault: dict[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    if not fault["loc"]:
        return f"{message}. See python -m serving --help.\n"
    name = str(fault["loc"][0])
    setting = name if name.isupper() else f"FRAUD_{name.upper()}"
    value = "***" if name in _SECRET else masked(repr(fault["input"]))
    if fault["type"] == "too_short" and name in _SECRET:
        least = fault["ctx"]["min_length"]
        message = f"it needs at least {least} random characters, such as `openssl rand -hex 32` gives"
    return f"{setting} cannot be {value}: {message}. See python -m serving --help.\n"
