import numpy as np
import pytest

from ml_project.bundle import Manifest
from ml_project.drift import compare, judge
from ml_project.drift_counts import DriftCounts
from ml_project.features import compute_features
from ml_project.scorer import Scorer, decide, decide_all
from ml_project.simulator import simulate


@pytest.fixture(scope="module")
def manifest(small_scorer: Scorer) -> Manifest:
    return small_scorer.bundle.manifest


def test_pieces_add_up_to_the_whole_and_survive_json(small_scorer: Scorer, manifest: Manifest) -> None:
    (chunk,) = simulate(3_000, seed=8)
    features = compute_features(chunk.raw, manifest.amount)
    features[::50, 3] = np.nan
    hybrid = small_scorer.score(chunk.raw).hybrid
    baseline, weight = manifest.drift_baseline, np.random.default_rng(0).uniform(1, 3, len(hybrid))
    whole = compare(baseline, manifest.statistics, features, hybrid, weight, 1e-4)
    counts = DriftCounts.none(baseline)
    for piece in np.array_split(np.arange(3_000), 7):
        one = DriftCounts.of(baseline, manifest.statistics, features[piece], hybrid[piece], weight[piece])
        counts += DriftCounts.from_dict(one.to_dict())
    for added, expected in zip(judge(baseline, counts, 1e-4), whole, strict=True):
        assert (added.name, added.rows) == (expected.name, pytest.approx(expected.rows))
        assert added.psi.value == pytest.approx(expected.psi.value, abs=1e-12)
        assert added.ks.noise == pytest.approx(expected.ks.noise)
        assert added.missing == pytest.approx(expected.missing)
        assert added.observed == pytest.approx(expected.observed)
    assert whole[2].missing == pytest.approx(weight[::50].sum() / weight.sum())


def test_many_decisions_are_those_of_one_by_one(small_scorer: Scorer) -> None:
    thresholds = small_scorer.thresholds
    scores = np.array([0.0, thresholds.alert, np.nextafter(thresholds.alert, 0), thresholds.decline, 1.0])
    assert decide_all(scores, thresholds).tolist() == [
        ["APPROVE", "REVIEW", "DECLINE"].index(decide(score, thresholds)) for score in scores.tolist()
    ]
