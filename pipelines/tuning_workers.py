"""Tuning by several processes on one study, here and on any machine that has the same ``FRAUD_STUDY_URL``.

Workers share nothing but the study: each asks for a point when the budget still has room, and its pruner sees what all
have reported. Nobody's death loses a trial. Of a worker started here we know at once, put its point back in the queue
and start another; of one elsewhere its heartbeat tells (`study_storage.HEARTBEAT_SECONDS`), and whoever starts or
waits for the next trial puts it back.
"""

import multiprocessing
import os
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

from ml_project.errors import Unavailable
from ml_project.fitting import PreparedFold
from pipelines import tuning
from pipelines.study_storage import retry
from pipelines.tuning import OnTrial

if TYPE_CHECKING:
    import optuna

WORKER: Final = "worker"
"""A trial's attribute: the machine and process that tries it."""

_LOOK_SECONDS: Final = 0.5
_MOST_DEATHS: Final = 10

Prepare = Callable[[], list[PreparedFold]]


@dataclass(frozen=True)
class SharedStudy:
    """What a worker needs to take part; ``prepare`` is called in its own process and must be picklable."""

    name: str
    storage_url: str
    seed: int
    trials: int
    timeout: float | None
    workers: int
    prepare: Prepare


def tune_together(shared: SharedStudy, study: "optuna.Study", on_trial: OnTrial) -> None:
    """Start the workers, replace those that die, and hear of each trial that any worker anywhere finishes.

    Raises
    ------
    Unavailable
        When workers die again and again.
    """
    context = multiprocessing.get_context("spawn")  # forked copies of OpenMP's threads would hang

    def start(number: int) -> BaseProcess:
        process = context.Process(target=work, args=(shared, number), daemon=True)
        process.start()
        return process

    told = {trial.number for trial in tuning.finished_trials(study)}
    working = [start(number) for number in range(shared.workers)]
    started, deaths = shared.workers, 0
    try:
        while working:
            time.sleep(_LOOK_SECONDS)
            for process in [each for each in working if each.exitcode is not None]:
                working.remove(process)
                if process.exitcode == 0:
                    continue
                deaths += 1
                if deaths > _MOST_DEATHS:
                    raise Unavailable(f"{deaths} workers died, the last with {process.exitcode}.", "Is memory short?")
                put_back(study, worker_name(process.pid))
                working.append(start(started))
                started += 1
            for trial in tuning.finished_trials(study):
                if trial.number not in told:
                    told.add(trial.number)
                    on_trial(trial)
    finally:
        for process in working:
            process.terminate()
            process.join()
            put_back(study, worker_name(process.pid))


def work(shared: SharedStudy, number: int) -> None:
    """One worker: trials until the study's budget is spent."""
    import optuna

    study = tuning.open_study(shared.name, shared.storage_url, shared.seed, (), number, shared.workers)
    objective = tuning.objective_of(shared.prepare())

    def named(trial: optuna.Trial) -> float:
        trial.set_user_attr(WORKER, worker_name(os.getpid()))
        return objective(trial)

    began = time.monotonic()
    while shared.timeout is None or time.monotonic() - began < shared.timeout:
        finished = len(tuning.finished_trials(study))
        if finished >= shared.trials:
            return
        running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        if finished + len(running) < shared.trials:
            study.optimize(named, n_trials=1)
            continue
        # the rest is being tried; should its worker die, the point comes back
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        time.sleep(_LOOK_SECONDS)


def put_back(study: "optuna.Study", worker: str) -> None:
    """Fail what a dead worker was trying, and put its point back in the queue."""
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if trial.user_attrs.get(WORKER) == worker:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            retry(study, trial)


def worker_name(pid: int | None) -> str:
    """Of a process on this machine."""
    return f"{socket.gethostname()}:{pid}"
