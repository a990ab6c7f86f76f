import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble._iforest import _average_path_length

from ml_project.bundle import Bundle
from ml_project.calibration import Calibrator
from ml_project.contract_parts import OUTPUTS
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings, fit_ensemble
from ml_project.fitting import Fitted
from ml_project.onnx_graph import _float32_not_above, ensemble_to_onnx, mean_path_length
from ml_project.scorer import PARITY_TOLERANCE, Scorer
from ml_project.simulator import simulate
from tests.support.creditcard import CREDITCARD, FEATURES


@pytest.fixture(scope="module")
def draft(twin: Fitted) -> Scorer:
    return Scorer(twin.bundle, threads=1)


def worst_difference(fitted: Fitted, scorer: Scorer, features: np.ndarray) -> float:
    scores = scorer.score_features(features)
    hybrid = fitted.ensemble.hybrid(features)
    pairs = (
        (scores.isolation, fitted.ensemble.isolation(features)),
        (scores.boosted, fitted.ensemble.boosted(features)),
        (scores.hybrid, hybrid),
        (scores.probability, fitted.calibrator.probability(hybrid)),
    )
    return max(float(np.abs(ours - reference).max()) for ours, reference in pairs)


def thresholds(fitted: Fitted) -> list[tuple[int, float]]:
    """Every split of both forests: feature and threshold as the libraries keep it."""
    found = [
        (int(feature), float(threshold))
        for tree in fitted.ensemble.forest.estimators_
        for feature, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True)
        if feature >= 0
    ]
    trees = fitted.ensemble.booster.trees_to_dataframe()
    boosted = trees[trees["Feature"] != "Leaf"]
    return found + [(FEATURES.index(f), float(s)) for f, s in zip(boosted["Feature"], boosted["Split"], strict=True)]


@pytest.fixture(scope="module")
def boundaries(twin: Fitted) -> list[tuple[int, float]]:
    return thresholds(twin)


@pytest.fixture(scope="module")
def fresh_features(twin: Fitted) -> np.ndarray:
    (chunk,) = simulate(10_000, seed=11, fraud_rate=0.05)
    return twin.transform(chunk.raw)


def test_parity_on_10_000_unseen_rows(twin: Fitted, draft: Scorer, fresh_features: np.ndarray):
    assert worst_difference(twin, draft, fresh_features) <= PARITY_TOLERANCE == 1e-5


def test_parity_on_every_single_boundary(twin: Fitted, draft: Scorer, fresh_features: np.ndarray, boundaries):
    rows = np.repeat(np.resize(fresh_features, (len(boundaries), 37)), 3, axis=0)
    for number, (feature, threshold) in enumerate(boundaries):
        at = np.float32(threshold)
        around = (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf)))
        rows[3 * number : 3 * number + 3, feature] = around
    assert worst_difference(twin, draft, rows) <= PARITY_TOLERANCE


@settings(max_examples=150)
@given(data=st.data())
def test_parity_where_many_features_lie_on_boundaries(
    data: st.DataObject, twin: Fitted, draft: Scorer, fresh_features: np.ndarray, boundaries
):
    row = fresh_features[data.draw(st.integers(0, len(fresh_features) - 1))].copy()
    for feature, threshold in data.draw(st.lists(st.sampled_from(boundaries), min_size=1, max_size=60)):
        towards = data.draw(st.sampled_from([-np.inf, 0.0, np.inf]))
        value = np.float32(threshold)
        row[feature] = value if towards == 0 else np.nextafter(value, np.float32(towards))
    assert worst_difference(twin, draft, row[None]) <= PARITY_TOLERANCE


@given(st.floats(-1e30, 1e30), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounded_threshold_answers_as_the_exact_one_for_every_float32(threshold: float, value: float):
    rounded = _float32_not_above(threshold)
    assert np.float32(rounded) == rounded
    for probe in (value, rounded, float(np.nextafter(np.float32(rounded), np.float32(np.inf)))):
        assert (probe <= threshold) == (probe <= rounded)


def test_same_ensemble_same_bytes(twin: Fitted):
    again = ensemble_to_onnx(twin.ensemble, twin.calibrator)
    assert again == twin.bundle.onnx
    assert ensemble_to_onnx(twin.ensemble, Calibrator(2.0, 0.0)) != again


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 10, 256, 100_000])
def test_mean_path_length_equals_scikit_learn(samples: int):
    assert mean_path_length(samples) == pytest.approx(_average_path_length(np.array([samples]))[0])


def test_graph_holds_standard_operators_only(bundle: Bundle):
    model = onnx.load_from_string(bundle.onnx)
    assert {(node.domain, node.op_type) for node in model.graph.node} == {
        ("ai.onnx.ml", "TreeEnsembleRegressor"),
        *(("", name) for name in ("Add", "Clip", "Div", "Log", "Mul", "Pow", "Sigmoid", "Sub")),
    }
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 17, "ai.onnx.ml": 3}
    assert not model.functions
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert tuple(output.name for output in model.graph.output) == OUTPUTS
    assert [value.name for value in model.graph.input] == ["features"]


@pytest.mark.parametrize("blend_weight", [0.0, 1.0])
@pytest.mark.parametrize("trees", [(1, 1), (3, 2)])
def test_parity_of_extreme_ensembles(twin: Fitted, fresh_features: np.ndarray, blend_weight: float, trees):
    label = (fresh_features[:, FEATURES.index("V14")] < -5).astype(np.int8)
    chosen = EnsembleSettings(
        blend_weight,
        ForestSettings(trees[0], max_samples=trees[0] + 1),
        BoosterSettings(rounds=trees[1], num_parallel_tree=1),
    )
    ensemble = fit_ensemble(CREDITCARD, fresh_features, label, np.ones(len(label)), chosen)
    graph = ensemble_to_onnx(ensemble, Calibrator())
    scores = Scorer(Bundle(twin.bundle.manifest, graph, b""), threads=1).score_features(fresh_features)
    np.testing.assert_allclose(scores.isolation, ensemble.isolation(fresh_features), atol=1e-5)
    np.testing.assert_allclose(scores.boosted, ensemble.boosted(fresh_features), atol=1e-5)
    np.testing.assert_allclose(scores.hybrid, ensemble.hybrid(fresh_features), atol=1e-5)


def test_a_booster_without_any_split(twin: Fitted, fresh_features: np.ndarray):
    label = (np.arange(len(fresh_features)) % 50 == 0).astype(np.int8)
    chosen = EnsembleSettings(0.5, ForestSettings(2, 8), BoosterSettings(rounds=2, min_child_weight=1e9))
    ensemble = fit_ensemble(CREDITCARD, fresh_features, label, np.ones(len(label)), chosen)
    graph = ensemble_to_onnx(ensemble, Calibrator())
    scores = Scorer(Bundle(twin.bundle.manifest, graph, b""), threads=1).score_features(fresh_features[:100])
    np.testing.assert_allclose(scores.boosted, ensemble.boosted(fresh_features[:100]), atol=1e-6)
