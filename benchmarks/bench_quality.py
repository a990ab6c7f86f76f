"""What each choice is worth on later rows: average precision of variants, fitted on the past, measured later.

Run: PYTHONPATH=. python benchmarks/bench_quality.py [PATH] [--seeds 3]

PATH is a data file as `ingest` takes it; by default the one that the last execution ingested. Every variant sees the
same six pairs of past and future, which forward-chain over the whole file. The defaults were chosen on such windows of
the real sample, so these figures flatter them a little.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_project.cleaning import clean
from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.ensemble import EnsembleSettings
from ml_project.fitting import PreparedFold, thin
from ml_project.reference_models import SEED_RECIPE
from ml_project.split import Fold
from pipelines.data.files import read_table

WINDOWS = ((0.3, 0.6), (0.4, 0.7), (0.5, 0.8), (0.6, 0.8), (0.6, 1.0), (0.8, 1.0))
LEGITIMATE_ROWS = 40_000
DEFAULT = EnsembleSettings().resolved(contract_named())
TIME = contract_named().time


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


def windows(data: Dataset) -> list[Fold]:
    """Past and future by share of the total weight."""
    share = np.cumsum(data.weight) / data.weight.sum()
    return [Fold(data.take(share <= a), data.take((share > a) & (share <= b))) for a, b in WINDOWS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="var/data/transactions.parquet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options, contract = parser.parse_args(), contract_named()
    data = Dataset.from_frame(clean(read_table(options.path, contract).frame, contract)[0], contract)
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
