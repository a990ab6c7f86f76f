"""Working off a study's budget, together with other processes here and on other machines.

They share nothing but the study. Each trial has a number from the storage, and the lower number comes first: a trial
that finds the budget claimed by lower ones, or its point tried by one, gives up its place before any work is done. So
the budget is kept and no point is tried twice, although nobody can lock a study.
"""

import os
import socket
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ml_project.ensemble import EnsembleSettings
from ml_project.fitting import PreparedFold
from pipelines.training.interrupts import Interrupts
from pipelines.training.study import finished_trials, fixed_point, retry, settings_of, suggest

if TYPE_CHECKING:
    import optuna

OnTrial = Callable[["optuna.trial.FrozenTrial"], None]

WORKER: Final = "worker"
"""A trial's attribute: the machine and process that tries it."""

_LOOK_SECONDS: Final = 0.5

UNSIGNED_SECONDS: Final = 20.0
"""How long a running trial may be without its worker's name. A worker that dies between making a trial and its first
heartbeat leaves one that Optuna would consider running forever."""


class _GivenUp(Exception):  # not a FraudError: never shown
    """The trial has no place in the budget, or its point is tried already."""


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
        Called with each trial that is finished meanwhile, here or elsewhere.
    """
    interrupts = Interrupts()
    with interrupts.held_back():
        put_back_dead(study)
        reported = {trial.number for trial in finished_trials(study)}

        def report() -> None:
            for trial in finished_trials(study):
                if trial.number not in reported:
                    reported.add(trial.number)
                    on_trial(trial)

        work_off(study, objective_of(folds, trials, interrupts), trials, timeout, interrupts, report)
        return settings_of(study.best_trial)


def work_off(
    study: "optuna.Study",
    objective: "Callable[[optuna.Trial], float]",
    trials: int,
    timeout: float | None,
    interrupts: Interrupts,
    on_change: Callable[[], None] = lambda: None,
) -> None:
    """Try points until the budget is spent, and wait for those that others still try.

    Ctrl-C ends it in a fit or between two trials; a trial that it ends is told as failed.
    """
    import optuna

    began = time.monotonic()
    unsigned: dict[int, float] = {}

    def orphaned(trial: "optuna.trial.FrozenTrial") -> bool:
        now = time.monotonic()
        return WORKER not in trial.user_attrs and now - unsigned.setdefault(trial.number, now) > UNSIGNED_SECONDS

    while timeout is None or time.monotonic() - began < timeout:
        interrupts.take_effect()
        on_change()
        running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        finished = len(finished_trials(study))
        if finished >= trials:
            return
        if finished + len(running) < trials:
            study.optimize(objective, n_trials=1, catch=(_GivenUp,))
            continue
        # the rest is being tried; if its worker dies, the point is queued again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        _put_back(study, orphaned)
        with interrupts.allowed():
            time.sleep(_LOOK_SECONDS)
    on_change()


def objective_of(folds: list[PreparedFold], trials: int, interrupts: Interrupts) -> "Callable[[optuna.Trial], float]":
    """Mean average precision over the folds; a trial that falls behind others' after the same fold is pruned."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr(WORKER, worker_name(os.getpid()))
        settings = suggest(trial)
        _require_place(trial, trials)
        figures: list[float] = []
        for number, fold in enumerate(folds):
            with interrupts.allowed():
                figures.append(fold.average_precision(settings))
            trial.set_user_attr(f"fold_{number}_average_precision", figures[-1])
            trial.report(sum(figures) / len(figures), number)
            if number + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return sum(figures) / len(figures)

    return objective


def _require_place(trial: "optuna.Trial", trials: int) -> None:
    import optuna

    states = optuna.trial.TrialState
    claimed = trial.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.RUNNING))
    before = [each for each in claimed if each.number < trial.number]
    if len(before) >= trials or any(fixed_point(each) == trial.params for each in before):
        raise _GivenUp


def put_back(study: "optuna.Study", worker: str) -> None:
    """Fail what a dead worker was trying, and put its point back in the queue."""
    _put_back(study, lambda trial: trial.user_attrs.get(WORKER) == worker)


def put_back_dead(study: "optuna.Study") -> None:
    """The same for workers of this machine that no longer run: an execution that was killed has left its trials."""
    _put_back(study, lambda trial: _is_dead(trial.user_attrs.get(WORKER, "")))


def _put_back(study: "optuna.Study", wanted: "Callable[[optuna.trial.FrozenTrial], bool]") -> None:
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if wanted(trial):
            # another process may do the same: then the point waits twice, and the second trial of it gives up
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            retry(study, trial)


def worker_name(pid: int | None) -> str:
    """Of a process on this machine."""
    return f"{socket.gethostname()}:{pid}"


def _is_dead(worker: str) -> bool:
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
