"""Tuning: Optuna searches both forests and their blend against average precision on forward-chained folds.

The study lives in Optuna's own storage (SQLite or PostgreSQL), so it survives a kill and several workers can share it;
its budget counts the trials of earlier executions.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import PreparedFold
from pipelines.study_storage import open_storage, storage_errors

if TYPE_CHECKING:
    import optuna

SEARCH_SPACE_VERSION = 1
"""Goes into the study's name: trials of another search space are never mixed in."""

STARTUP_TRIALS = 8

OnTrial = Callable[["optuna.trial.FrozenTrial"], None]


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


def study_name(data_digest: str, seed: int, folds: int, tuning_rows: int) -> str:
    """One study per data set and everything else that its objective depends on."""
    key = f"{SEARCH_SPACE_VERSION}/{data_digest}/{seed}/{folds}/{tuning_rows}"
    return f"fraud-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def open_study(
    name: str,
    storage_url: str,
    seed: int,
    starts: Sequence[EnsembleSettings] = (EnsembleSettings(),),
    worker: int = 0,
    workers: int = 1,
) -> "optuna.Study":
    """Create or resume a study.

    Parameters
    ----------
    starts : sequence of EnsembleSettings
        Points that are tried first, in this order; those that were tried or wait already are not again.
    worker, workers : int
        Which of how many processes this is: each draws points of its own, and away from those that others try.

    Raises
    ------
    Unavailable
        When the storage cannot be opened.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(storage_url):
        storage = open_storage(storage_url)
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    done = len(finished_trials(study))
    # a resumed sampler must not draw the points of its first start again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + 1000 * done + worker, n_startup_trials=STARTUP_TRIALS, constant_liar=workers > 1
        )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    # not by the library's skip_if_exists: that counts trials, too, which were killed before they could tell
    states = optuna.trial.TrialState
    told = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.WAITING))
    known = [trial.system_attrs.get("fixed_params", trial.params) for trial in told]
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


def tune(
    study: "optuna.Study", folds: list[PreparedFold], trials: int, timeout: float | None, on_trial: OnTrial
) -> EnsembleSettings:
    """Run what is left of the budget; the settings of the best trial.

    Parameters
    ----------
    trials : int
        Budget of the whole study.
    timeout : float or None
        Seconds after which no further trial starts.
    on_trial : callable
        Called with each finished trial.
    """
    remaining = trials - len(finished_trials(study))
    if remaining > 0:
        study.optimize(
            objective_of(folds), n_trials=remaining, timeout=timeout, callbacks=[lambda _study, trial: on_trial(trial)]
        )
    return settings_of(study.best_trial)


def objective_of(folds: list[PreparedFold]) -> "Callable[[optuna.Trial], float]":
    """Mean average precision over the folds; a trial that falls behind others' after the same fold is pruned."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        settings = suggest(trial)
        figures: list[float] = []
        for number, fold in enumerate(folds):
            figures.append(fold.average_precision(settings))
            trial.set_user_attr(f"fold_{number}_average_precision", figures[-1])
            trial.report(sum(figures) / len(figures), number)
            if number + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return sum(figures) / len(figures)

    return objective


def settings_of(trial: "optuna.trial.FrozenTrial") -> EnsembleSettings:
    """The point that a trial tried."""
    import optuna

    return suggest(optuna.trial.FixedTrial(trial.params))
