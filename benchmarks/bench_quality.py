"""What each choice is worth on later rows: average precision of variants, fitted on the past, measured later.

Run: PYTHONPATH=. python benchmarks/bench_quality.py [PATH] [--seeds 3] [--blends]

PATH is a data file as `ingest` takes it; by default the one that the last execution ingested. Every variant sees the
same six pairs of past and future, which forward-chain over the whole file. The defaults were chosen on such windows of
the real sample, so these figures flatter them a little.

With --blends, bags of seeds and blends with a logistic regression are compared with the defaults: on windows that end
where the last fifth begins, which they are chosen on, and then on that fifth. Differences are paired: whatever rows are
drawn again count alike for both, in all windows that hold them.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ml_project.calibration import log_odds
from ml_project.cleaning import clean
from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.ensemble import EnsembleSettings
from ml_project.fitting import PreparedFold, thin
from ml_project.metrics import Estimate, Ranker, average_precision
from ml_project.reference_models import SEED_RECIPE
from ml_project.split import Fold
from ml_project.statistics import FeatureStatistics
from pipelines.data.files import read_table

WINDOWS = ((0.3, 0.6), (0.4, 0.7), (0.5, 0.8), (0.6, 0.8), (0.6, 1.0), (0.8, 1.0))
LEGITIMATE_ROWS = 40_000
DEFAULT = EnsembleSettings().resolved(contract_named())
TIME = contract_named().time or ""


def booster(**changes: object) -> EnsembleSettings:
    """The defaults with another booster."""
    return replace(DEFAULT, booster=replace(DEFAULT.booster, **changes))  # type: ignore[arg-type]


VARIANTS = {
    "defaults": DEFAULT,
    "all 37 features in the trees": replace(DEFAULT, excluded=()),
    f"without {TIME} only": replace(DEFAULT, excluded=(TIME,)),
    "no monotone directions": booster(monotone_auc=1.0),
    "one tree a round (240 rounds)": booster(num_parallel_tree=1, rounds=240),
    "frauds not weighted up": booster(scale_pos_weight=1.0),
    "XGBoost alone (w = 0)": replace(DEFAULT, blend_weight=0.0),
    "w = 0.1": replace(DEFAULT, blend_weight=0.1),
    "w = 0.4": replace(DEFAULT, blend_weight=0.4),
    "the seed's recipe": SEED_RECIPE,
}


def windows(data: Dataset) -> list[Fold[Dataset]]:
    """Past and future by share of the total weight."""
    share = np.cumsum(data.weight) / data.weight.sum()
    return [Fold(data.take(share <= a), data.take((share > a) & (share <= b))) for a, b in WINDOWS]


CHOICE = ((0.2, 0.4), (0.3, 0.5), (0.4, 0.6), (0.5, 0.7), (0.6, 0.8), (0.3, 0.6), (0.4, 0.7), (0.5, 0.8))
LAST = 0.8
REPLICATES = 500


@dataclass(frozen=True)
class Blend:
    """The mean of the log-odds of several seeds' boosters, and of a logistic regression's with some weight."""

    settings: EnsembleSettings
    seeds: int = 5
    linear: float = 0.0


FINER = booster(max_bin=1024, reg_lambda=10.0)
BLENDS = {
    "defaults, one seed": Blend(DEFAULT, seeds=1),
    "five seeds": Blend(DEFAULT),
    "five seeds, 1024 bins, lambda 10": Blend(FINER),
    "five seeds, logistic regression 0.2": Blend(DEFAULT, linear=0.2),
    "five seeds, 1024 bins, lambda 10, logistic regression 0.2": Blend(FINER, linear=0.2),
    "five seeds, 1024 bins, lambda 10, logistic regression 0.4": Blend(FINER, linear=0.4),
}


class Blends:
    """Scores of what follows some share of the weight, by models fitted on what is before it."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.share = np.cumsum(data.weight) / data.weight.sum()
        self._prepared = cache(self._prepare)
        self._boosted, self._linear = cache(self._fit_booster), cache(self._fit_linear)

    def score(self, blend: Blend, past: float) -> NDArray[np.float64]:
        """By a blend, of the rows after ``past``."""
        if blend.seeds == 1:
            return self._prepared(past).hybrid(blend.settings)
        bag = np.mean([self._boosted(past, blend.settings, seed) for seed in range(blend.seeds)], axis=0)
        blended: NDArray[np.float64] = (1 - blend.linear) * bag + blend.linear * self._linear(past)
        return blended

    def _prepare(self, past: float) -> PreparedFold:
        fold = Fold(self.data.take(self.share <= past), self.data.take(self.share > past))
        return PreparedFold.prepare(fold, contract_named().left_out, seed=0, threads=1)

    def _fit_booster(self, past: float, settings: EnsembleSettings, seed: int) -> NDArray[np.float64]:
        return log_odds(replace(self._prepared(past), seed=seed).boosted(settings.booster))

    def _fit_linear(self, past: float) -> NDArray[np.float64]:
        fold = self._prepared(past)
        known = fold.past_data
        statistics = FeatureStatistics.fit(known.contract.feature_names, fold.past, known.weight)
        before, after = (
            np.nan_to_num(np.clip(statistics.standardise(rows), -5, 5)) for rows in (fold.past, fold.future)
        )
        model = LogisticRegression(C=0.1, max_iter=2000)
        # a fraud weighs ten times as much, as it does for the trees
        model.fit(before, known.label, sample_weight=known.weight * np.where(known.label == 1, 10, 1))
        return np.asarray(model.decision_function(after))


def compare_blends(data: Dataset) -> None:
    """Print each blend's mean over windows, and its paired difference to the defaults."""
    blends = Blends(data)
    kinds = {
        "windows of choice": [(past, past, until) for past, until in CHOICE],
        "last fifth, fitted on the first 60 %": [(0.6, LAST, np.inf)],
        "last fifth, fitted on the first 80 %": [(LAST, LAST, np.inf)],
    }
    for kind, asked in kinds.items():
        frauds = int(data.label[(blends.share > asked[0][1]) & (blends.share <= asked[-1][2])].sum())
        print(f"\n{kind}, {frauds} frauds{'':30s}".ljust(62) + "AP     difference to the defaults")
        draws = {name: replicated(blends, blend, asked) for name, blend in BLENDS.items()}
        first = next(iter(draws.values()))
        for name, values in draws.items():
            low, high = np.quantile((values - first)[1:], [0.025, 0.975])
            difference = Estimate(float(values[0] - first[0]), float(low), float(high))
            print(f"{name:60s}{values[0]:.3f}  {difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]")


def replicated(blends: Blends, blend: Blend, asked: Sequence[tuple[float, float, float]]) -> NDArray[np.float64]:
    """Mean average precision over windows (past, since, until): as it is, then of rows drawn again."""
    data, share = blends.data, blends.share
    within = np.any([(share > since) & (share <= until) for _past, since, until in asked], axis=0)
    strata = [np.flatnonzero(within & (data.label == value)) for value in (0, 1)]
    rng = np.random.default_rng(0)
    weights = [data.weight]
    for _ in range(REPLICATES):
        drawn = np.concatenate([rows[rng.integers(0, len(rows), len(rows))] for rows in strata])
        weights.append(data.weight * np.bincount(drawn, minlength=len(data)))
    total = np.zeros(len(weights))
    for past, since, until in asked:
        rows = np.flatnonzero((share > since) & (share <= until))
        score = blends.score(blend, past)[rows - int((share <= past).sum())]
        ranker = Ranker(score, data.label[rows], data.amount[rows])
        total += [average_precision(ranker.curve(weight[rows])) for weight in weights]
    return total / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="var/data/transactions.parquet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--blends", action="store_true", help="compare bags and blends with the defaults instead")
    options, contract = parser.parse_args(), contract_named()
    data = Dataset.from_frame(clean(read_table(options.path, contract).frame, contract)[0], contract)
    if options.blends:
        compare_blends(thin(data, LEGITIMATE_ROWS, seed=0))
        return
    folds = windows(thin(data, LEGITIMATE_ROWS, seed=0))
    figures = {name: np.zeros((options.seeds, len(folds))) for name in VARIANTS}
    for seed in range(options.seeds):
        for excluded in ((), (TIME,), contract.left_out):
            prepared = [PreparedFold.prepare(fold, excluded, seed, threads=2) for fold in folds]
            for name, settings in VARIANTS.items():
                if settings.excluded == excluded:
                    figures[name][seed] = [fold.average_precision(settings) for fold in prepared]
    header = " ".join(f"{a:.0%}→{b:.0%}".rjust(9) for a, b in WINDOWS)
    print(f"{'variant':32s}{'mean':>7s}{'sd':>7s} {header}")
    for name, values in figures.items():
        columns = " ".join(f"{value:9.3f}" for value in values.mean(axis=0))
        print(f"{name:32s}{values.mean():7.3f}{values.mean(axis=1).std():7.3f} {columns}")
    if options.json:
        options.json.write_text(
            json.dumps({name: values.tolist() for name, values in figures.items()}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
