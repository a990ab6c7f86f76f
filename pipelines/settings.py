"""Settings of the pipeline process: from the command line, the environment (prefix ``FRAUD_``), and the running stack.

The stack is what `up` runs over a state folder. While it runs, its addresses stand in a file there (`StackFile`), so
that the commands of that folder find it without being told.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator

from ml_project.errors import InvalidInput
from ml_project.policies import COST, POLICIES, PolicySettings
from stores.files import write_private
from stores.settings import NO_SECRET, SHORTEST_SECRET, STATE_DIR, PlatformSettings

LIMITS_FILE: Final = Path(__file__).with_name("monitor.yaml")


_LAUNCHERS_FILES: Final = ("mlflow.db", "mlruns")
"""Where MLflow writes by default, below the folder in which it is started."""


def launched_in(tracking_uri: str) -> bool:
    """Whether an address is only the default of the ``mlflow run`` that started this process."""
    local = tracking_uri.startswith(("sqlite:///", "file:"))
    ours = os.environ.get("MLFLOW_TRACKING_URI") == tracking_uri and not os.environ.get("FRAUD_TRACKING_URI")
    return bool(os.environ.get("MLFLOW_RUN_ID")) and local and ours and Path(tracking_uri).name in _LAUNCHERS_FILES


class StackFile:
    """Where the stack that runs over a state folder says how to reach it; of its owner only, for it may hold passwords.

    A killed stack leaves the file behind, but never the lock.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / "up.json"
        self.lock = state / "up.lock"

    def write(self, environment: Mapping[str, str]) -> None:
        """Say which variables lead to the stack."""
        write_private(self.path, json.dumps(dict(environment), indent=1))

    def remove(self) -> None:
        """Nothing runs any more."""
        self.path.unlink(missing_ok=True)

    def read(self) -> dict[str, str]:
        """The variables; none where no stack runs."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            with self.lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return {name: str(value) for name, value in found.items()}
        except (OSError, ValueError):
            return {}
        return {}


def join_running_stack() -> str:
    """Take what is not set from the stack that runs over this state folder; the address of its MLflow, or nothing.

    An address of MLflow that was set means other stores, and a run that ``mlflow run`` has made lies elsewhere: then
    nothing is taken.
    """
    if os.environ.get("FRAUD_TRACKING_URI") or os.environ.get("MLFLOW_TRACKING_URI"):
        return ""
    found = StackFile(Path(os.environ.get("FRAUD_STATE_DIR") or STATE_DIR)).read()
    for name, value in found.items():
        if not os.environ.get(name):
            os.environ[name] = value
    return found.get("FRAUD_TRACKING_URI", "")


@cache  # a process that has begun changes MLflow's own variables
def state_folder() -> Path:
    """``var`` in the project; of a project that ``mlflow run`` fetched from a git address, where it was started.

    Raises
    ------
    InvalidInput
        When nothing says where that was: what is written into a fetched project is lost with it.
    """
    here, temporary = Path.cwd().resolve(), Path(tempfile.gettempdir()).resolve()
    places = (place for place in (here, *here.parents) if place.parent == temporary)
    fetched = next((place for place in places if place.name.startswith(tempfile.gettempprefix())), None)
    if fetched is None or not os.environ.get("MLFLOW_RUN_ID"):
        return STATE_DIR
    launcher = os.environ.get("MLFLOW_TRACKING_URI", "")
    if launched_in(launcher):
        return Path(launcher.removeprefix("sqlite:///").removeprefix("file://")).parent / STATE_DIR
    raise InvalidInput(
        f"`mlflow run` fetched the project into {fetched}, where nothing stays.", "Set FRAUD_STATE_DIR to your own."
    )


class PipelineSettings(PlatformSettings):
    """Every setting of ``python -m pipelines``: those of the platform, and the pipelines' own."""

    state_dir: Path = Field(
        default_factory=state_folder,
        description=PlatformSettings.model_fields["state_dir"].description,
        json_schema_extra={"default": "var"},
    )

    experiment: str = Field("fraud-detection", description="MLflow experiment of pipeline runs.")
    user: str = Field("", description="Name that the history of moves records; empty: the operating system's user.")
    require_approval: bool = Field(
        False, description="Promotions wait until another person than the one who asked approves them."
    )

    signing_key: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Secret that the promotion signs with what it lets pass; at least 32 random characters, which only "
        "the commands that promote are given. `access key` prints the public key for FRAUD_TRUSTED_KEYS. Empty: "
        "nothing is signed.",
    )

    data: str = Field("auto", description="auto, kaggle, simulated, or a file or folder, local or s3://.")
    missing: Literal["reject", "impute"] = Field("reject", description="What to do with missing values.")
    ingest_max_mb: int = Field(
        4096,
        ge=1,
        description="Largest file that `ingest` reads into memory without Spark, in MB of CSV or of Parquet's values, "
        "unpacked: a small archive can hold any amount. A packed CSV may be 100 times as large as its archive.",
    )
    simulated_rows: int = Field(
        284_807, ge=5_000, description="Rows that the simulator makes; about as many of the contract cards."
    )

    mlflow_database_url: SecretStr = Field(
        NO_SECRET,
        description="Database of the MLflow server, which `prune` needs for `mlflow gc`; empty: the SQLite file under "
        "the state folder where no server is set, else unknown.",
    )
    study_url: SecretStr = Field(NO_SECRET, description="Optuna storage; empty: a SQLite file under the state folder.")
    trials: int = Field(30, ge=1, description="Trials of the whole study, those of earlier executions included.")
    timeout: float | None = Field(None, gt=0, description="Seconds after which no further trial starts.")
    tuning_workers: int = Field(1, ge=1, le=256, description="Processes that tune; each gets its share of the threads.")
    folds: int = Field(3, ge=2, le=10, description="Forward-chained folds, in tuning and for the refit's thresholds.")
    tuning_rows: int = Field(40_000, ge=1_000, description="Legitimate rows that tuning sees (weighted sample).")
    seed: int = Field(0, ge=0, description="Seed of everything drawn at random.")
    threads: int = Field(
        default_factory=lambda: min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 8),
        ge=1,
        json_schema_extra={"default": "cores, at most 8"},
        description="Threads for fitting; part of what a bundle's digest depends on.",
    )
    replicates: int = Field(500, ge=100, description="Bootstrap replicates behind every interval.")

    policy: str = Field(
        "recall_at_fpr", description="Threshold policy in use: f1, cost, alert_budget or recall_at_fpr."
    )
    review_cost: float = Field(5.0, ge=0, description="Currency that one alert costs to review.")
    alerts_per_day: float = Field(200.0, gt=0, description="Alert budget.")
    card_entity: str = Field(
        "", description="Entity that card precision is about: a field of the contract; empty: its first, if it has any."
    )
    cards_per_day: int = Field(
        100, ge=1, description="Cards (or what the entity names) with the highest scores of a day in card precision."
    )
    fpr: float = Field(0.001, gt=0, lt=1, description="False-positive rate of the policy recall_at_fpr.")
    decline_precision: float = Field(0.95, gt=0, le=1, description="Precision on validation that declines must have.")

    monitoring_experiment: str = Field("fraud-monitoring", description="MLflow experiment of `monitor`.")
    monitor_limits: Path = Field(LIMITS_FILE, description="File with the limits of `monitor`.")
    scoring_experiment: str = Field("fraud-scoring", description="MLflow experiment of `score`.")
    spark_master: str = Field(
        "",
        description="Where Spark runs: `local[*]`, spark://host:7077; empty: as spark-submit says, else here.",
    )
    spark_workers: int = Field(
        0, ge=0, description="Spark tasks that grow the boosted trees together; 0: one per core that Spark has."
    )
    spark_sample_rows: int = Field(
        200_000,
        ge=1_000,
        description="Legitimate rows that training on Spark samples, and of the highest scores keeps.",
    )
    label_delay_days: float = Field(
        7.0, ge=0, description="Days after which a transaction without a label counts as legitimate."
    )
    evidently: bool = Field(
        True,
        description="Add an Evidently report to `monitor`'s page, where the group `evidently` is installed.",
    )
    lease_seconds: float = Field(
        60.0, ge=1, description="Time without a renewed lease after which another `retrain` may begin."
    )
    notice_topic: str = Field("", description="SNS topic (ARN) that receives breaches; empty: none.")
    notice_webhook: SecretStr = Field(
        NO_SECRET, description="URL that a breach is posted to as JSON; empty: none. Secret: it may hold a token."
    )
    metrics_textfile: Path | None = Field(
        None, description="File for `monitor`'s figures in Prometheus' text format (node exporter); none by default."
    )

    schedule_url: SecretStr = Field(
        NO_SECRET, description="Database of `schedule`; empty: a SQLite file under the state folder, `schedule.db`."
    )
    schedule_late_hours: float = Field(
        12.0, gt=0, description="How late `schedule` still makes up for missed runs, once for all of a kind."
    )
    schedule_stop_seconds: float = Field(
        20.0, ge=0, description="Seconds that a job has to end when `schedule` is stopped."
    )
    retrain_on_breach: bool = Field(
        False, description="Let `schedule` start `retrain --reason drift` when `monitor` finds a breach."
    )

    @field_validator("tracking_uri")
    @classmethod
    def _not_the_launchers(cls, value: SecretStr) -> SecretStr:
        """Without a server, ``mlflow run`` names a file in its own folder, where no other command would look."""
        return NO_SECRET if launched_in(value.get_secret_value()) else value

    @property
    def study(self) -> str:
        """URL of Optuna's storage."""
        return self.study_url.get_secret_value() or f"sqlite:///{(self.state_dir / 'optuna.db').resolve()}"

    @property
    def mlflow_database_address(self) -> str:
        """URL of the database that MLflow keeps runs in; empty where only the server knows it."""
        known = self.mlflow_database_url.get_secret_value()
        return known or ("" if self.mlflow_uri.startswith("http") else self.mlflow_uri)

    @property
    def schedule(self) -> str:
        """URL of the scheduler's database."""
        return self.schedule_url.get_secret_value() or f"sqlite:///{(self.state_dir / 'schedule.db').resolve()}"

    @property
    def priced_review(self) -> float | None:
        """What a review costs; None where the contract has no amount, so that nothing is said of costs."""
        return None if self.data_contract.amount is None else self.review_cost

    @property
    def reviewed_entity(self) -> str | None:
        """The entity that card precision is about; None where the contract has none.

        Raises
        ------
        InvalidInput
            When the setting names no entity of the contract.
        """
        known = self.data_contract.entities
        if self.card_entity and self.card_entity not in known:
            cause = f"{self.card_entity!r} is not an entity of the contract {self.data_contract.contract}."
            remedy = f"FRAUD_CARD_ENTITY is one of {', '.join(known)}." if known else "Leave FRAUD_CARD_ENTITY empty."
            raise InvalidInput(cause, remedy)
        return self.card_entity or next(iter(known), None)

    def usable_policies(self) -> tuple[str, ...]:
        """The threshold policies that the contract's transactions allow.

        Raises
        ------
        InvalidInput
            When the one in use is not among them.
        """
        known = tuple(name for name in POLICIES if name != COST or self.data_contract.amount is not None)
        if self.policy == COST and COST not in known:
            cause = f"The policy cost needs amounts, and the contract {self.data_contract.contract} has none."
            raise InvalidInput(cause, f"Choose one of {', '.join(known)}, or give a field `role: amount`.")
        return known

    @property
    def dataset_path(self) -> Path:
        """The ingested data set."""
        return self.state_dir / "data" / "transactions.parquet"

    @property
    def policy_settings(self) -> PolicySettings:
        """What the threshold policies aim at."""
        return PolicySettings(self.review_cost, self.alerts_per_day, self.fpr, self.decline_precision)
