"""Which point a trial tries: Optuna's TPE sampler, drawing by the number that the study's storage gave the trial.

No two trials of a study have the same number, wherever they run, so that machines which share a study draw different
points without knowing of each other, and a study that is continued draws what it would have drawn.
"""

from collections.abc import Sequence
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

STARTUP_TRIALS: Final = 8
"""Trials at random before the sampler and the pruner learn from others."""


class NumberedSampler(BaseSampler):
    """A TPE sampler of its own for each trial.

    Parameters
    ----------
    seed : int
        Of the study; equal seeds and numbers draw equally from an equal history.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._current = self._sampler(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin anew for this trial."""
        self._current = self._sampler(trial.number)
        self._current.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE does."""
        space: dict[str, BaseDistribution] = self._current.infer_relative_search_space(study, trial)
        return space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        point: dict[str, Any] = self._current.sample_relative(study, trial, search_space)
        return point

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE does."""
        return self._current.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As TPE does."""
        self._current.after_trial(study, trial, state, values)

    def _sampler(self, number: int) -> TPESampler:
        # the liar keeps it away from what is being tried elsewhere
        return TPESampler(seed=100_003 * self._seed + number, n_startup_trials=STARTUP_TRIALS, constant_liar=True)
