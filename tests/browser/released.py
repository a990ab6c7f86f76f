"""Two versions as a promotion would publish them: real bundles, thresholds, curves and model cards, quickly fitted."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml_project.bundle import Bundle
from ml_project.calibration import reliability
from ml_project.card import (
    CARD_VERSION,
    Ablation,
    Calibration,
    Card,
    Data,
    Figure,
    GateCheck,
    Part,
    Policy,
    Sample,
    ThresholdCurve,
)
from ml_project.contract import Contract
from ml_project.dataset import Dataset
from ml_project.drift import DecisionLimits, DriftLimits
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import Fitted, fit_twin
from ml_project.metrics import estimate, ranking_metrics, threshold_metrics
from ml_project.policies import POLICIES, PolicySettings, Thresholds, choose_thresholds
from ml_project.simulator import simulate
from ml_project.split import TimeSplit, split_by_time
from stores.releases import open_releases
from tests.support.creditcard import CREDITCARD

MODEL_NAME = "fraud-ensemble"
AIMS = PolicySettings(alerts_per_day=40, fpr=0.005)
DRIFT_LIMITS = DriftLimits(minimum_rows=300, false_alarms=0.005, psi=0.1, ks=0.1, missing=0.01, out_of_range=0.005)
DIFFERENCE = Figure(value=0.05, low=-0.01, high=0.11)
CHECKS = (
    GateCheck(name="recall at the alert budget", theme="quality on its own", value="0.85", limit="≥ 0.5", passed=True),
    GateCheck(name="average precision", theme="against the champion", value="0.71", limit="≥ 0.69", passed=None),
    GateCheck(name="calibration error", theme="quality on its own", value="1.3", limit="≤ 1", passed=False),
)
"""As of a version that was promoted by force."""
ORIGIN = {"source": "simulated", "digest": "5" * 64, "rows": 30_000, "frauds": 300}


@dataclass(frozen=True)
class Version:
    """A registered version's bundle and card."""

    number: int
    bundle: Bundle
    card: Card

    def publish(self, releases: Path) -> None:
        """Make it the live one, as far as a gateway without MLflow can tell."""
        open_releases(str(releases)).publish(
            self.bundle, MODEL_NAME, self.number, {"passed": True, "forced": False}, datetime.now(UTC), self.card
        )


def fit_versions() -> list[Version]:
    """Versions 1 and 2: the same data, other trees and another blend."""
    (chunk,) = simulate(30_000, seed=5, fraud_rate=0.01)
    return [
        fit_version(CREDITCARD, chunk.raw, chunk.label, number, weight) for number, weight in ((1, 0.05), (2, 0.15))
    ]


def fit_version(
    contract: Contract, raw: NDArray[np.float64], label: NDArray[np.int8], number: int = 1, blend_weight: float = 0.05
) -> Version:
    """A version of transactions in the order of time."""
    moment = raw[:, contract.time_place]
    return fit_version_of(Dataset(contract, raw, label, np.ones(len(label)), moment), number, blend_weight)


def fit_version_of(data: Dataset, number: int = 1, blend_weight: float = 0.05) -> Version:
    """The same of clean data."""
    return _version(number, blend_weight, split_by_time(data))


def _version(number: int, blend_weight: float, split: TimeSplit) -> Version:
    settings = EnsembleSettings(
        blend_weight=blend_weight,
        forest=ForestSettings(trees=25, max_samples=128),
        booster=BoosterSettings(rounds=40, num_parallel_tree=1, max_depth=4, learning_rate=0.2),
    )
    fitted = fit_twin(split, settings, LocalEngine(seed=number, threads=2), ORIGIN)
    unseen = fitted.unseen
    policies = {name: choose_thresholds(name, unseen.curve, AIMS, unseen.days) for name in POLICIES}
    manifest = fitted.bundle.manifest.model_copy(update={"policy": "recall_at_fpr", "policies": policies})
    bundle = Bundle(manifest, fitted.bundle.onnx, fitted.bundle.booster)
    return Version(number, bundle, _card(number, fitted, bundle, split))


def _card(number: int, fitted: Fitted, bundle: Bundle, split: TimeSplit) -> Card:
    test = fitted.score(split.test)
    thresholds = bundle.manifest.thresholds
    wanted = ranking_metrics() | threshold_metrics(thresholds.alert, AIMS.review_cost, test.days)
    estimates = estimate(test, test.hybrid, wanted, 50, 0)
    bins = reliability(test.probability(fitted.calibrator), test.label, test.weight)
    golden = bundle.manifest.golden_rows
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return Card(
        card_version=CARD_VERSION,
        model_name=MODEL_NAME,
        version=number,
        purpose="Scores card transactions for fraud as they come in.",
        limits=("Learnt from simulated transactions: its figures say nothing about real ones.",),
        data=Data(
            **ORIGIN,
            name="simulated",
            first_moment=float(split.train.moment[0]),
            last_moment=float(split.test.moment[-1]),
            splits={
                name: Part(rows=len(part.label), frauds=int(part.label.sum()), days=part.days)
                for name, part in parts.items()
            },
        ),
        figures={name: Figure.of(figure) for name, figure in estimates.items()},
        policy=bundle.manifest.policy,
        policies={name: _policy(chosen) for name, chosen in bundle.manifest.policies.items()},
        alerts_per_day=AIMS.alerts_per_day,
        review_cost=AIMS.review_cost,
        ablations={
            name: Ablation(
                average_precision=Figure(value=value, low=value - 0.1, high=value + 0.1), difference=DIFFERENCE
            )
            for name, value in (("xgboost_alone", 0.7), ("logistic_regression", 0.59))
        },
        test_curve=ThresholdCurve.of(test.curve, AIMS.review_cost, test.days, [thresholds.alert]),
        what_if=ThresholdCurve.of(fitted.unseen.curve, AIMS.review_cost, fitted.unseen.days, [thresholds.alert]),
        calibration=Calibration(
            predicted=tuple(bins.predicted.tolist()),
            observed=tuple(bins.observed.tolist()),
            rows=tuple(bins.rows.tolist()),
        ),
        samples=tuple(
            Sample(
                fraud=fraud,
                transaction=dict(zip(bundle.manifest.contract.raw_fields, row.raw, strict=True)),
                scores=row.scores,
            )
            for fraud, row in ((False, golden[1]), (True, golden[-1]))
        ),
        settings={"max_depth": "4", "learning_rate": "0.2"},
        lineage={"run": f"{number:032x}", "experiment": "7", "git commit": "1b2c3d4", "data digest": ORIGIN["digest"]},
        gate="passed",
        drift_limits=DRIFT_LIMITS,
        decision_limits=DecisionLimits(minimum_rows=500, minimum_hours=24, factor=2),
        checks=CHECKS,
    )


def _policy(chosen: Thresholds) -> Policy:
    return Policy(alert=chosen.alert, decline=chosen.decline, test={})
