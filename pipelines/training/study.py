"""The Optuna study that tuning works on: its search space, and the database that it is stored in.

It searches both forests and their blend for the best average precision on forward-chained folds. The study lives in
Optuna's own storage (SQLite or PostgreSQL), so that it survives a kill and several workers can share it; its budget
counts the trials of earlier executions.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.errors import InvalidInput, Unavailable
from stores.error_text import masked
from stores.sql import ENGINE_OPTIONS, is_postgres, unavailable, with_driver

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import URL


SEARCH_SPACE_VERSION = 1
"""Goes into the study's name: trials of another search space are never mixed in."""


def suggest(trial: "optuna.trial.BaseTrial") -> EnsembleSettings:
    """A point of the search space; its bounds are where forward-chained folds were flat (docs/adr/0006)."""
    return EnsembleSettings(
        blend_weight=trial.suggest_float("blend_weight", 0.0, 0.1, step=0.01),
        forest=ForestSettings(trees=100, max_samples=trial.suggest_categorical("forest_max_samples", [256, 512, 1024])),
        booster=BoosterSettings(
            rounds=trial.suggest_int("rounds", 40, 80, step=10),
            max_depth=trial.suggest_int("max_depth", 4, 7),
            learning_rate=trial.suggest_float("learning_rate", 0.08, 0.2, log=True),
            subsample=trial.suggest_float("subsample", 0.6, 0.9),
            colsample_bynode=trial.suggest_float("colsample_bynode", 0.3, 0.6),
            min_child_weight=trial.suggest_float("min_child_weight", 1.0, 5.0, log=True),
            reg_lambda=trial.suggest_float("reg_lambda", 0.5, 20.0, log=True),
            scale_pos_weight=trial.suggest_float("scale_pos_weight", 3.0, 20.0, log=True),
        ),
    )


def starting_point(settings: EnsembleSettings) -> dict[str, Any]:
    """A point of the search space as Optuna enqueues it."""
    booster = asdict(settings.booster)
    tuned = ("rounds", "max_depth", "learning_rate", "subsample", "colsample_bynode", "min_child_weight")
    return {
        "blend_weight": settings.blend_weight,
        "forest_max_samples": settings.forest.max_samples,
        **{name: booster[name] for name in (*tuned, "reg_lambda", "scale_pos_weight")},
    }


def study_name(data_digest: str, contract_digest: str, seed: int, folds: int, tuning_rows: int) -> str:
    """One study per data set and everything else that its objective depends on."""
    key = f"{SEARCH_SPACE_VERSION}/{data_digest}/{contract_digest}/{seed}/{folds}/{tuning_rows}"
    return f"fraud-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def open_study(
    name: str, storage_url: str, seed: int, starts: Sequence[EnsembleSettings] = (EnsembleSettings(),)
) -> "optuna.Study":
    """Create or resume a study.

    Parameters
    ----------
    starts : sequence of EnsembleSettings
        Points that are tried first, in this order; those that were tried or wait already are not again.

    Raises
    ------
    Unavailable
        When the storage cannot be opened.
    """
    import optuna

    from pipelines.training.sampler import STARTUP_TRIALS, NumberedSampler

    # its warnings are about trials that gave up their place (`pipelines.training.trials`); what fails is raised
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storage_errors(storage_url):
        storage = open_storage(storage_url)
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    study.sampler = NumberedSampler(seed)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    # the library's skip_if_exists would also count trials that were killed before they reported anything
    states = optuna.trial.TrialState
    reported = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.WAITING))
    known = [fixed_point(trial) for trial in reported]
    for point in map(starting_point, starts):
        if point not in known:
            study.enqueue_trial(point)
            known.append(point)
    return study


def finished_trials(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """Trials that count against the budget."""
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    finished: list[optuna.trial.FrozenTrial] = study.get_trials(deepcopy=False, states=states)
    return finished


def fixed_point(trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
    """The point that a trial tries, or waits to try."""
    point: dict[str, Any] = trial.system_attrs.get("fixed_params", trial.params)
    return point


def settings_of(trial: "optuna.trial.FrozenTrial") -> EnsembleSettings:
    """The point that a trial tried."""
    import optuna

    return suggest(optuna.trial.FixedTrial(trial.params))


HEARTBEAT_SECONDS: Final = 30
MOST_RETRIES: Final = 3
"""How often a point whose worker died is tried again."""


@contextmanager
def storage_errors(storage_url: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise for a database that cannot be used into one clear error."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    url, _options = connection(storage_url)
    try:
        yield
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise Unavailable(
            f"The Optuna study in {masked(storage_url)} has the schema of another Optuna version.",
            "Back it up and run `optuna storage upgrade --storage` with its address, or set another FRAUD_STUDY_URL.",
        ) from error
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause: BaseException | None = error
        if isinstance(error, StorageInternalError) and error.__cause__:
            cause = error.__cause__
        cause = cause.orig if isinstance(cause, DBAPIError) else cause
        raise unavailable(url, cause, database="Optuna study", setting="FRAUD_STUDY_URL") from error


def require_storage(storage_url: str) -> None:
    """Open a storage that exists already or is on a server.

    Raises
    ------
    Unavailable
        When it cannot be reached, refuses access, or has another schema.
    """
    with storage_errors(storage_url):
        url, _ = connection(storage_url)
        if is_postgres(url) or (url.database and Path(url.database).is_file()):
            open_storage(storage_url).engine.dispose()


def open_storage(storage_url: str) -> "optuna.storages.RDBStorage":
    """Optuna's storage, its tables made where they are missing.

    Raises
    ------
    Unavailable
        As `require_storage` does.
    """
    import optuna

    with storage_errors(storage_url), warnings.catch_warnings():
        # heartbeats, which free the trials of a killed worker, are marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        url, options = connection(storage_url)
        return optuna.storages.RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=4 * HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=retry,
        )


def retry(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
    """Put the point of a trial whose worker died back in the queue."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)(study, trial)


def connection(storage_url: str) -> "tuple[URL, dict[str, Any]]":
    """The address, and the options of SQLAlchemy's engine.

    Raises
    ------
    InvalidInput
        When it is not a URL.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage_url)
    except (ArgumentError, ValueError):  # the message would hold the URL, and with it the password
        raise InvalidInput("FRAUD_STUDY_URL is not a URL.", "Write sqlite:///path or postgresql://...") from None
    # several workers write in turns: SQLite lets one wait for another
    return (with_driver(url), ENGINE_OPTIONS) if is_postgres(url) else (url, {"connect_args": {"timeout": 60}})


def old_studies(storage_url: str, before: datetime) -> set[str]:
    """Names of the studies in which nothing was tried since a moment; none where there is no storage yet.

    Raises
    ------
    Unavailable
        As `require_storage` does.
    """
    import optuna

    url, _options = connection(storage_url)
    if not is_postgres(url) and not (url.database and Path(url.database).is_file()):
        return set()
    old = set()
    with storage_errors(storage_url):
        storage = open_storage(storage_url)
        for summary in optuna.get_all_study_summaries(storage):
            trials = storage.get_all_trials(summary._study_id, deepcopy=False)
            # Optuna's moments have no zone, and are those of this machine
            last = max((trial.datetime_start.astimezone() for trial in trials if trial.datetime_start), default=None)
            if last is None or last < before:
                old.add(summary.study_name)
    return old


def remove_study(storage_url: str, name: str) -> None:
    """Delete a study and its trials; nothing happens where there is none."""
    import optuna

    with storage_errors(storage_url), suppress(KeyError):
        optuna.delete_study(study_name=name, storage=open_storage(storage_url))
