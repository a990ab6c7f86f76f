from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_project.bundle import Bundle
from ml_project.calibration import log_odds
from ml_project.errors import InvalidBundle
from ml_project.fitting import Fitted
from ml_project.reasons import ISOLATION, Explainer
from ml_project.scorer import Scorer
from ml_project.split import TimeSplit
from tests.support.creditcard import ENGINEERED_FEATURES, FEATURES, RAW_FEATURES


@pytest.fixture(scope="module")
def explainer(bundle: Bundle) -> Explainer:
    return Explainer(bundle)


@pytest.fixture(scope="module")
def features(twin: Fitted, split: TimeSplit) -> np.ndarray:
    return twin.transform(split.test.raw)


def test_contributions_are_xgboosts_own(explainer: Explainer, twin: Fitted, features: np.ndarray):
    matrix = xgboost.DMatrix(features, feature_names=list(FEATURES))
    expected = twin.ensemble.booster.predict(matrix, pred_contribs=True)
    np.testing.assert_allclose(explainer.contributions(features), expected, atol=1e-6)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_contributions_sum_to_the_margin(explainer: Explainer, twin: Fitted, data: st.DataObject):
    rows = data.draw(arrays(np.float32, (3, 37), elements=st.floats(-100, 100, width=32)))
    matrix = xgboost.DMatrix(rows, feature_names=list(FEATURES))
    margin = twin.ensemble.booster.predict(matrix, output_margin=True)
    np.testing.assert_allclose(explainer.contributions(rows).sum(axis=1), margin, atol=1e-4)


def test_all_terms_explain_the_hybrid_score(explainer: Explainer, small_scorer: Scorer, split: TimeSplit):
    """Bias and tree terms give the margin; the forest's term is what its part adds to the blend's log-odds."""
    raw = split.test.raw
    scores = small_scorer.score(raw)
    sums = explainer.contributions(small_scorer.bundle.manifest.transform(raw)).sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-sums)), scores.boosted, atol=1e-5)
    explained = explainer.explain(raw, scores.isolation, top=38)
    for row, explanation in enumerate(explained):
        terms = {reason["feature"]: reason["contribution"] for reason in explanation.reasons}
        expected = float(log_odds(scores.hybrid[row]) - log_odds(0.8 * scores.boosted[row]))
        assert terms.get(ISOLATION, 0.0) == pytest.approx(expected, abs=1e-4)
        assert (ISOLATION in terms) == (scores.isolation[row] > 0)


def test_the_strongest_terms_come_first(explainer: Explainer, small_scorer: Scorer, split: TimeSplit):
    isolation = small_scorer.score(split.test.raw).isolation
    for few, all_of_them in zip(
        explainer.explain(split.test.raw, isolation), explainer.explain(split.test.raw, isolation, top=38), strict=True
    ):
        sizes = [abs(reason["contribution"]) for reason in all_of_them.reasons]
        assert sizes == sorted(sizes, reverse=True)
        assert few.reasons == all_of_them.reasons[:5]
        assert all(size > 0 for size in sizes[:5])


WORDS = {
    "Time": "hour of day",
    "Amount": "amount",
    "amount_zscore": "amount in standard deviations from the mean",
    "amount_log": "logarithm of the amount",
    "v1_v2_ratio": "V1 divided by V2",
    "high_value": "amount above 1000",
    "variance_all": "variance of V1 to V28",
    "max_abs_v": "largest |V|",
    "mean_abs_v": "mean |V|",
    ISOLATION: "unlike ordinary transactions (isolation forest)",
}


def test_values_and_words(explainer: Explainer, small_scorer: Scorer, split: TimeSplit):
    raw = split.test.raw[:50]
    scores = small_scorer.score(raw)
    features = small_scorer.bundle.manifest.transform(raw)
    seen = set()
    for row, explanation in enumerate(explainer.explain(raw, scores.isolation, top=38)):
        for reason in explanation.reasons:
            name = reason["feature"]
            seen.add(name)
            expected = scores.isolation[row] if name == ISOLATION else features[row, FEATURES.index(name)]
            assert reason["value"] == pytest.approx(expected, rel=1e-6)
            assert reason["description"] == WORDS.get(name, name)
    assert seen & set(ENGINEERED_FEATURES)


def test_values_outside_the_training_range_are_named(explainer: Explainer, bundle: Bundle, split: TimeSplit):
    raw = split.train.raw[:1].copy()
    assert explainer.explain(raw, np.zeros(1))[0].warnings == []
    statistics = bundle.manifest.statistics
    place = RAW_FEATURES.index("V7")
    raw[0, place] = statistics.maximum[place] + 1.5
    raw[0, -1] = 1e9
    found = explainer.explain(raw, np.zeros(1))[0].warnings
    assert [warning["feature"] for warning in found] == ["V7", "Amount"]
    assert found[0]["value"] == pytest.approx(raw[0, place], rel=1e-6)
    assert (found[0]["minimum"], found[0]["maximum"]) == (statistics.minimum[place], statistics.maximum[place])


def test_no_rows_no_explanations(explainer: Explainer):
    assert explainer.explain(np.empty((0, 30)), np.empty(0)) == []


def test_threads_do_not_disturb_each_other(explainer: Explainer, features: np.ndarray):
    expected = explainer.contributions(features[:300])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: explainer.contributions(features[i : i + 1])[0], range(300)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_booster_that_is_cut_off_is_refused(bundle: Bundle, share: float):
    booster = bundle.booster[: int(share * len(bundle.booster))]
    with pytest.raises(InvalidBundle, match="cannot be read"):
        Explainer(Bundle(bundle.manifest, bundle.onnx, booster))


def test_a_bundle_without_its_blend_is_refused(bundle: Bundle):
    with pytest.raises(InvalidBundle, match="blend_weight"):
        Explainer(Bundle(bundle.manifest.model_copy(update={"settings": {}}), bundle.onnx, bundle.booster))


def booster_of(features: np.ndarray) -> bytes:
    labels = (features[:, 3] > 0).astype(int)
    parameters = {"objective": "binary:logistic", "max_depth": 2}
    return bytes(xgboost.train(parameters, xgboost.DMatrix(features, labels), 3).save_raw("json"))


def test_another_models_booster_is_refused(bundle: Bundle, features: np.ndarray):
    with pytest.raises(InvalidBundle, match="explains scores"):
        Explainer(Bundle(bundle.manifest, bundle.onnx, booster_of(features)))
    with pytest.raises(InvalidBundle, match="take different features"):
        Explainer(Bundle(bundle.manifest, bundle.onnx, booster_of(features[:, :36])))
