"""The reference bundle of 100 + 100 trees, and transactions to score: simulated, seeded, the same on every machine."""

import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.baseline import Baseline
from ml_project.bundle import FORMAT_VERSION, Bundle, Manifest
from ml_project.calibration import Calibrator
from ml_project.contract import Contract
from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.ensemble import BoosterSettings, Ensemble, EnsembleSettings, ForestSettings, fit_ensemble
from ml_project.features import FeatureTransform
from ml_project.onnx_graph import ensemble_to_onnx
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer, golden_rows
from ml_project.simulator import FIELDS, simulate
from ml_project.statistics import FeatureStatistics, Histogram

ROWS = 60_000
SETTINGS = EnsembleSettings(
    0.1,
    ForestSettings(trees=100, max_samples=256),
    BoosterSettings(rounds=100, num_parallel_tree=1, max_depth=5),
    excluded=(),
)
ALERT_RATE, DECLINE_RATE = 0.004, 0.001


@dataclass(frozen=True)
class Reference:
    """A fitted ensemble with the rows that it was fitted on."""

    raw: NDArray[np.float64]
    ensemble: Ensemble
    transform: FeatureTransform

    @cached_property
    def bundle(self) -> Bundle:
        """As the gateway serves it; about 4 in 1,000 rows are alerts."""
        features, weight = self.transform(self.raw), np.ones(len(self.raw))
        hybrid = self.ensemble.hybrid(features)
        alert, decline = np.quantile(hybrid, [1 - ALERT_RATE, 1 - DECLINE_RATE]).tolist()
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            contract=self.transform.contract,
            settings={"blend_weight": self.ensemble.blend_weight},
            scales=dict(self.transform.scales),
            statistics=FeatureStatistics.fit(self.transform.contract.feature_names, features, weight),
            score_baseline=Histogram.fit(hybrid, weight),
            policy="recall_at_fpr",
            policies={"recall_at_fpr": Thresholds(alert, decline)},
            data={"source": "simulated"},
            libraries={},
            golden_rows=(),
            baseline=Baseline.fit(self.transform.contract, self.raw, features, hybrid, weight),
        )
        booster = bytes(self.ensemble.booster.save_raw("json"))
        bundle = Bundle(manifest, ensemble_to_onnx(self.ensemble, Calibrator()), booster)
        return replace(
            bundle, manifest=manifest.model_copy(update={"golden_rows": golden_rows(Scorer(bundle, 1), self.raw[:20])})
        )

    @cached_property
    def transactions(self) -> list[bytes]:
        """Rows as JSON objects."""
        return [json.dumps(dict(zip(FIELDS, row, strict=True))).encode() for row in self.raw[:5_000].tolist()]


def reference(rows_fitted: int = ROWS) -> Reference:
    """Fit it; of 60,000 rows in about ten seconds."""
    [rows] = simulate(rows_fitted, seed=0, chunk_rows=rows_fitted)
    return _fitted(contract_named(), rows.raw, rows.label)


def card_reference(contract: Contract, table: pd.DataFrame) -> Reference:
    """The same of a clean table of card transactions that has all columns of the contract."""
    dataset = Dataset.from_frame(table, contract)
    return _fitted(contract, dataset.raw, dataset.label)


def _fitted(contract: Contract, raw: NDArray[np.float64], label: NDArray[np.int8]) -> Reference:
    weight = np.ones(len(raw))
    transform = FeatureTransform.fit(contract, raw, weight)
    ensemble = fit_ensemble(contract, transform(raw), label, weight, SETTINGS, threads=2)
    return Reference(raw, ensemble, transform)
