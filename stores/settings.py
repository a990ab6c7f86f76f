"""The settings that gateway and pipelines share, defined once: one environment means the same places to both."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AliasChoices, AwareDatetime, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ml_project.contract import Contract
from ml_project.contract_file import DEFAULT, contract_named
from ml_project.errors import InvalidInput
from ml_project.event_times import EventTimeBounds
from stores.bundle_trial import TrialLimits
from stores.key_hash import SHORTEST_KEY_SECRET, KeyHash
from stores.objects import checked_endpoint, checked_location

if TYPE_CHECKING:
    from stores.attestation import TrustedKeys

NO_SECRET: Final = SecretStr("")
_CURRENCY: Final = r"^[A-Z]{3}$"
STATE_DIR: Final = Path("var")
SHORTEST_SECRET: Final = 32
"""Characters of a secret that stands for a person or a server."""


class PlatformSettings(BaseSettings):
    """Where everything lies: the state folder, MLflow, releases, S3 and the decision database.

    A field ``name`` is the environment variable ``FRAUD_NAME``. An empty variable counts as not set. URLs that may hold
    a password are secrets, so that no ``repr``, log line or message shows one; the properties give them in plain text
    to the libraries that connect.
    """

    model_config = SettingsConfigDict(
        env_prefix="FRAUD_", env_ignore_empty=True, extra="ignore", frozen=True, validate_by_name=True
    )

    state_dir: Path = Field(
        STATE_DIR,
        description="Folder for everything that is written: data, studies, releases and, without a server, MLflow's "
        "files; the gateway's own files lie in its subfolder `gateway`.",
    )
    contract: str = Field(
        DEFAULT,
        min_length=1,
        description="Data contract of the transactions: the name of one that comes with the platform, or a YAML file.",
    )
    tracking_uri: SecretStr = Field(
        NO_SECRET,
        validation_alias=AliasChoices("FRAUD_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        description="MLflow server. FRAUD_TRACKING_URI wins over MLflow's own variable. Empty: the pipelines keep "
        "MLflow's files in the state folder, and the gateway follows the releases.",
    )
    model_name: str = Field(
        "fraud-ensemble", min_length=1, description="Registered model, whose alias `Production` is served."
    )
    releases_uri: str = Field(
        "",
        description="Folder or s3://bucket/prefix of promoted bundles, which the gateway starts from while MLflow is "
        "down; empty: `releases` in the state folder.",
    )
    trusted_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Public keys of the promotion, as `access key` prints them, or files of such, separated by commas: "
        "a version without a signature by one of them is neither served nor scored with; empty: none is asked for.",
    )
    s3_endpoint_url: str = Field(
        "", description="S3 endpoint, such as http://127.0.0.1:9000; empty: AWS's own. Credentials are AWS's own, too."
    )
    database_url: SecretStr = Field(
        NO_SECRET,
        description="Decision database: sqlite:///path or postgresql://user:password@host/name; empty: "
        "`gateway/decisions.db` in the state folder.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Secret that MLflow signs its webhook to the gateway's /hooks/registry with (see `webhook`); "
        "at least 32 random characters; empty: there is no such route.",
    )
    key_secret: SecretStr | None = Field(
        None,
        min_length=SHORTEST_KEY_SECRET,
        description="Secret by which the values of fields with `role: entity` are kept as keyed hashes, the same for "
        "gateways and pipelines; at least 16 characters. Another secret gives other hashes: set it before the "
        "first decision, and keep it (see security.md). Empty: they are kept as they are sent.",
    )
    first_scoring_seconds: float = Field(
        20.0,
        gt=0,
        description="Processor time that the first scoring of a new version may take, in a process of its "
        "own, so that a graph that never ends cannot stop the gateway.",
    )
    first_scoring_memory_bytes: int = Field(
        512 * 1024**2,
        ge=256 * 1024**2,
        description="Memory that the first scoring may take; a version of usual size needs 150 MB.",
    )
    event_time_from: AwareDatetime = Field(
        datetime(2000, 1, 1, tzinfo=UTC),
        json_schema_extra={"default": "2000-01-01T00:00:00Z"},
        description="Earliest event time that is believed. A clock that was never set, or an empty field, says 1970.",
    )
    event_time_ahead_hours: float = Field(
        24.0,
        ge=0,
        le=24 * 366,
        description="How far ahead of now an event time may lie: clocks run ahead and zones are mistaken, but what "
        "lies further ahead has not happened.",
    )
    mlflow_page: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",
        description="Address of MLflow's page as people reach it, which the gateway's page and commands link to; "
        "empty: no links on the page, and commands name the server's own address. Anyone who can reach the gateway can "
        "read it.",
    )
    currency: str = Field(
        "EUR",
        pattern=_CURRENCY,
        description="Currency that the page and reports show amounts in, by its ISO 4217 code; a contract's own unit "
        "of amounts wins.",
    )
    emf_namespace: str = Field(
        "",
        max_length=255,
        description="CloudWatch namespace of metrics written to the log (embedded metric format); empty: none.",
    )

    @field_validator("trusted_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("trusted_keys")
    @classmethod
    def _keys_can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _trusted(value)
        return value

    _location = field_validator("releases_uri")(checked_location)
    _endpoint = field_validator("s3_endpoint_url")(checked_endpoint)

    @property
    def data_contract(self) -> Contract:
        """The contract that is named.

        Raises
        ------
        InvalidInput
            When there is none, or it has faults.
        """
        return contract_named(self.contract)

    @property
    def money(self) -> str:
        """The currency of amounts: the contract's unit of them where that is one, else the setting's."""
        return self.money_of(self.data_contract)

    def money_of(self, contract: Contract) -> str:
        """The same by a contract, such as a bundle's."""
        unit = next((each.unit for each in contract.fields if each.name == contract.amount), "")
        return unit if re.match(_CURRENCY, unit) else self.currency

    @property
    def mlflow_server(self) -> str:
        """The MLflow server with its password; empty without one."""
        return self.tracking_uri.get_secret_value()

    @property
    def mlflow_database(self) -> Path:
        """The file that stands in for a server, and that `up` starts one on."""
        return (self.state_dir / "mlflow.db").resolve()

    @property
    def mlflow_uri(self) -> str:
        """The MLflow server, or the file that stands in for it."""
        return self.mlflow_server or f"sqlite:///{self.mlflow_database}"

    @property
    def releases(self) -> str:
        """Folder or ``s3://bucket/prefix`` of the releases."""
        return self.releases_uri or str(self.state_dir / "releases")

    @property
    def trust(self) -> "TrustedKeys | None":
        """The keys of which one must have signed a version; None where no signature is asked for."""
        return _trusted(self.trusted_keys)

    @property
    def trial(self) -> TrialLimits:
        """The limits of a bundle's first scoring."""
        return TrialLimits(self.first_scoring_seconds, self.first_scoring_memory_bytes)

    @property
    def key_hash(self) -> KeyHash | None:
        """What makes hashes of keys; None where they are kept as they are sent."""
        return None if self.key_secret is None else KeyHash.by(self.key_secret.get_secret_value())

    @property
    def gateway_dir(self) -> Path:
        """The gateway's own folder."""
        return self.state_dir / "gateway"

    @property
    def decision_spool(self) -> Path:
        """Folder where decisions wait while the database is unreachable."""
        return self.gateway_dir / "spool"

    def event_time_bounds(self, now: datetime) -> EventTimeBounds:
        """The event times that are believed at a moment."""
        return EventTimeBounds(self.event_time_from, now + timedelta(hours=self.event_time_ahead_hours))

    @property
    def decisions_url(self) -> str:
        """URL of the decision database, with its password."""
        return self.database_url.get_secret_value() or f"sqlite:///{(self.gateway_dir / 'decisions.db').resolve()}"


def _trusted(entries: tuple[str, ...]) -> "TrustedKeys | None":
    if not entries:
        return None
    from stores.attestation import TrustedKeys  # cryptography, which most processes need not load

    try:
        return TrustedKeys(entries)
    except InvalidInput as error:
        raise ValueError(str(error)) from error


def variables(settings: type[BaseSettings], name: str) -> tuple[str, ...]:
    """The environment variables that set a field, the one that wins first."""
    alias: Any = settings.model_fields[name].validation_alias
    return tuple(map(str, alias.choices)) if alias else (f"FRAUD_{name.upper()}",)


def secret_names(settings: type[BaseSettings]) -> frozenset[str]:
    """The fields whose values no message may show."""
    return frozenset(name for name, field in settings.model_fields.items() if "SecretStr" in str(field.annotation))
