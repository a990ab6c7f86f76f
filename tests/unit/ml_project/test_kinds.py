"""Fields of every type through cleaning, features, both forests, the graph, explanations and the bundle."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_project.baseline import watched_names
from ml_project.bundle import Bundle, read_bundle
from ml_project.cleaning import CleaningReport, clean, learnt_values
from ml_project.columns import raw_column
from ml_project.contract import Contract
from ml_project.contract_parts import OTHER
from ml_project.dataset import Dataset
from ml_project.drift import DriftCounts, compare
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.errors import InvalidInput
from ml_project.features import OPERATORS, FeatureTransform
from ml_project.fitting import Fitted, fit_twin
from ml_project.operators import HistoryOperator
from ml_project.reasons import Explainer, unseen_categories
from ml_project.scorer import PARITY_TOLERANCE, Scorer
from ml_project.split import split_by_time
from pipelines.monitoring.figures import MonitorLimits, drift_figures
from pipelines.scoring.rows import _raw
from tests.support.shop import CARDS, COUNTRIES, VISITS, WIDE, card_transactions, visits, wide_transactions

SMALL = EnsembleSettings(0.3, ForestSettings(20, 64), BoosterSettings(rounds=12, num_parallel_tree=2))


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1_000), ("us", 10**6), ("ns", 10**9)])
def test_moments_of_every_unit_are_seconds_however_far(unit: str, per_second: int) -> None:
    (field,) = (each for each in CARDS.given_fields if each.name == "since")
    counts = [1_577_836_800 * per_second, -per_second, None, 2**62]
    moments = raw_column(field, pa.array(counts, pa.timestamp(unit, "UTC")))
    np.testing.assert_allclose(moments, [1_577_836_800, -1, np.nan, 2**62 / per_second], rtol=1e-12)


def cleaned(frame: pd.DataFrame, contract: Contract) -> tuple[Dataset, CleaningReport, pd.DataFrame]:
    known = contract.with_values(learnt_values(frame, contract))
    table, report = clean(frame, known)
    return Dataset.from_frame(table, known), report, table


@pytest.fixture(scope="module")
def data() -> Dataset:
    return cleaned(visits(4_000, seed=1), VISITS)[0]


@pytest.fixture(scope="module")
def twin(data: Dataset) -> Fitted:
    return fit_twin(split_by_time(data), SMALL, LocalEngine(), {"source": "file"})


def test_values_of_a_category_are_listed_or_learnt() -> None:
    assert VISITS.unlearnt == ("country",)
    known = VISITS.with_values({"country": COUNTRIES})
    assert known.unlearnt == ()
    assert [name for name in known.feature_names if name.startswith(("channel=", "country="))] == [
        *("channel=web", "channel=chip", "channel=phone", "channel=other", "channel=missing"),
        *("country=AT", "country=CH", "country=DE", "country=NA", "country=other"),
    ]
    assert Contract.model_validate(known.to_dict()) == known
    assert known.with_values({"country": ("XX",)}) is known
    assert (known.refuses_of(VISITS), VISITS.refuses_of(known)) == ([], [])
    rare = pd.DataFrame({"country": ["AT"] * 9 + ["CH"] * 5 + ["rare"] * 4 + ["", None]})
    assert learnt_values(rare, VISITS) == {"country": ("AT", "CH")}


def test_raw_transactions_are_numbers_whatever_the_types(data: Dataset) -> None:
    frame = visits(4_000, seed=1)
    known = frame[frame["outcome"] != "open"].reset_index(drop=True)
    channel, country, items, new, newsletter, score, risk = data.raw.T
    expected = known["channel"].map({"web": 0.0, "chip": 1.0, "phone": 2.0, "fax": OTHER})
    np.testing.assert_array_equal(channel, expected.astype(float))
    np.testing.assert_array_equal(country, known["country"].map(COUNTRIES.index))
    np.testing.assert_array_equal(new, known["new customer"].astype(float))
    np.testing.assert_array_equal(newsletter, known["newsletter"].map({True: 1.0, False: 0.0}).astype(float))
    for mine, name in ((items, "items"), (score, "score"), (risk, "risk")):
        np.testing.assert_array_equal(mine, known[name])
    np.testing.assert_array_equal(data.label, known["outcome"] == "fraud")
    assert data.amount.sum() == 0
    assert data.moment[:3].tolist() == [0.0, 8.64, 17.28]


def test_what_was_counted_is_told() -> None:
    frame = visits(2_000, seed=2)
    _data, report, _table = cleaned(frame, VISITS)
    assert report.unlabelled_dropped == report.metrics["unlabelled_dropped"] == (frame["outcome"] == "open").sum() > 20
    assert report.rows_out == 2_000 - report.unlabelled_dropped
    assert report.missing_kept == {
        name: frame[name].isna().sum() for name in ("channel", "items", "newsletter", "score")
    }
    known = frame[frame["outcome"] != "open"]
    assert report.others == {"channel": (known["channel"] == "fax").sum()}
    assert report.order == "file"
    assert any("order of their file" in note for note in report.notes)
    assert any("unknown label" in note for note in report.notes)


def test_equal_rows_stay_where_nothing_tells_them_apart() -> None:
    frame = visits(300, seed=3)
    twice = pd.concat([frame, frame], ignore_index=True)
    assert cleaned(twice, VISITS)[1].duplicates_dropped == 0
    cards = card_transactions(50, seed=3)
    assert cleaned(pd.concat([cards, cards]), CARDS)[1].duplicates_dropped == 50


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("items", 1.5, r"column items, row 4: '1\.5' is not a whole number"),
        ("items", "many", "column items, row 4: 'many' is not a whole number"),
        ("items", 1001, "column items, row 4: the value is above 1000"),
        ("new customer", "perhaps", "column new customer, row 4: 'perhaps' is not true or false"),
        ("new customer", None, "column new customer, row 4: the value is missing"),
        ("country", "", "column country, row 4: the value is missing"),
        ("risk", None, "column risk, row 4: the value is missing"),
        ("outcome", "maybe", "column outcome, row 4: the label is 'maybe'.*Give one of fraud, legit, fine, open"),
    ],
)
def test_values_of_another_type_are_refused_by_column_and_row(column: str, value: object, said: str) -> None:
    frame = visits(40, seed=4).astype({column: object})
    frame.loc[3, column] = value
    with pytest.raises(InvalidInput, match=said):
        cleaned(frame, VISITS)


@pytest.mark.parametrize(
    ("positive", "negative"), [(1, 0), ("1", "0"), (True, False), ("yes", "no"), ("fraud", "legit"), ("True", "False")]
)
def test_labels_in_the_usual_words_need_no_contract(positive: object, negative: object) -> None:
    given = {name: value for name, value in VISITS.to_dict().items() if name != "label"}
    contract = Contract.model_validate({**given, "label": {"field": "outcome"}})
    frame = visits(200, seed=5)
    frame["outcome"] = np.where(frame["outcome"] == "fraud", positive, negative)
    data, _report, _table = cleaned(frame, contract)
    np.testing.assert_array_equal(data.label, (frame["outcome"] == positive).astype(int))


def test_times_with_zones_text_keys_and_cents() -> None:
    frame = card_transactions(400, seed=6).sample(frac=1, random_state=0)
    data, report, table = cleaned(frame, CARDS)
    assert CARDS.raw_fields == ("at", "since", "cents", "risk")
    assert list(table.columns) == [
        "since",
        "cents",
        "risk",
        "is_fraud",
        "sampling_weight",
        "at",
        "transaction",
        "card no.",
    ]
    assert report.order == "event time"
    ordered = frame.assign(moment=pd.to_datetime(frame["at"], utc=True)).sort_values("moment")
    seconds = ordered["moment"].astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
    np.testing.assert_array_equal(data.raw[:, 0], seconds)
    np.testing.assert_allclose(data.moment, seconds, atol=1e-6)
    np.testing.assert_array_equal(data.amount, ordered["cents"] / 100)
    np.testing.assert_array_equal(np.isnan(data.raw[:, 1]), ordered["since"].isna())
    again = Dataset.from_frame(data.to_frame(), CARDS)
    np.testing.assert_array_equal(again.raw, data.raw)
    row = dict(zip(CARDS.feature_names, FeatureTransform.fit(CARDS, data.raw, data.weight)(data.raw).T, strict=True))
    utc = ordered["moment"].dt
    np.testing.assert_array_equal(row["day"], utc.dayofweek)
    np.testing.assert_array_equal(row["weekend"], utc.dayofweek >= 5)
    np.testing.assert_array_equal(np.floor(row["hour"]), utc.hour)
    np.testing.assert_array_equal(np.isnan(row["since_day"]), ordered["since"].isna())
    given = CARDS.transaction(data.raw[0].tolist())
    assert given["at"] == ordered["moment"].iloc[0].isoformat().replace("+00:00", "Z")
    assert (given["cents"], given["transaction"], given["card no."]) == (ordered["cents"].iloc[0], "a-1", "a-1")


def test_features_of_categories_and_missing_values_by_hand(data: Dataset) -> None:
    transform = FeatureTransform.fit(data.contract, data.raw, data.weight)
    raw = np.array([[1.0, 2.0, 4.0, 1.0, 0.0, 0.5, 2.0], [np.nan, OTHER, np.nan, 0.0, np.nan, np.nan, 2.0]])
    full, empty = (dict(zip(data.contract.feature_names, row.tolist(), strict=True)) for row in transform(raw))
    assert [full[f"channel={name}"] for name in ("web", "chip", "phone", "other", "missing")] == [0, 1, 0, 0, 0]
    assert [empty[f"channel={name}"] for name in ("web", "chip", "phone", "other", "missing")] == [0, 0, 0, 0, 1]
    assert (full["country=DE"], full["country=other"], empty["country=DE"], empty["country=other"]) == (1, 0, 0, 1)
    assert full["channel_frequency"] == np.float32((data.raw[:, 0] == 1).mean())
    assert empty["channel_frequency"] == np.float32(np.isnan(data.raw[:, 0]).mean())
    assert empty["country_frequency"] == 0
    assert (full["no_score"], empty["no_score"]) == (0, 1)
    assert (full["many"], full["risk_per_item"], full["new customer"]) == (1, 0.5, 1)
    missing = {name for name, value in empty.items() if np.isnan(value)}
    assert missing == data.contract.may_miss
    assert missing == {"items", "many", "items_z", "newsletter", "score", "risk_per_item", "spread"}


def test_every_operator_is_of_some_contract_here() -> None:
    used = {feature.operator for contract in (VISITS, CARDS) for feature in contract.features}
    of_history = {name for name, operator in OPERATORS.items() if issubclass(operator, HistoryOperator)}
    assert set(OPERATORS) - of_history - used == {"max_abs", "mean_abs"}  # the public table's


def boundaries(fitted: Fitted) -> list[tuple[int, float]]:
    names = fitted.transform.contract.feature_names
    found = [
        (int(feature), float(threshold))
        for tree in fitted.ensemble.forest.estimators_
        for feature, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True)
        if feature >= 0
    ]
    trees = fitted.ensemble.booster.trees_to_dataframe()
    splits = trees[trees["Feature"] != "Leaf"]
    return found + [(names.index(name), float(at)) for name, at in zip(splits["Feature"], splits["Split"], strict=True)]


def worst_difference(fitted: Fitted, features: np.ndarray) -> float:
    scores, ensemble = Scorer(fitted.bundle, threads=1).score_features(features), fitted.ensemble
    return max(
        float(np.abs(scores.isolation - ensemble.isolation(features)).max()),
        float(np.abs(scores.boosted - ensemble.boosted(features)).max()),
        float(np.abs(scores.hybrid - ensemble.hybrid(features)).max()),
    )


def test_the_graph_equals_the_libraries_at_every_split_and_where_values_are_missing(
    data: Dataset, twin: Fitted
) -> None:
    fresh = twin.transform(cleaned_raw(visits(2_000, seed=9), data.contract))
    assert np.isnan(fresh).any(axis=0).sum() == len(data.contract.may_miss)
    assert worst_difference(twin, fresh) <= PARITY_TOLERANCE
    edges = boundaries(twin)
    rows = np.repeat(np.resize(fresh, (len(edges), fresh.shape[1])), 4, axis=0)
    for number, (feature, threshold) in enumerate(edges):
        at = np.float32(threshold)
        around = (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf)), np.float32(np.nan))
        rows[4 * number : 4 * number + 4, feature] = around
    assert worst_difference(twin, rows) <= PARITY_TOLERANCE
    assert worst_difference(twin, np.full((1, fresh.shape[1]), np.nan, np.float32)) <= PARITY_TOLERANCE


def cleaned_raw(frame: pd.DataFrame, contract: Contract) -> np.ndarray:
    table, _report = clean(frame, contract)
    return Dataset.from_frame(table, contract).raw


def test_missing_values_go_both_ways_in_the_trees(twin: Fitted) -> None:
    """Else the parity above would not show that they are followed."""
    from ml_project.onnx_graph import _boosted_trees, _isolation_trees

    ensemble = twin.ensemble
    for trees in (
        _isolation_trees(ensemble.forest, ensemble.medians),
        _boosted_trees(ensemble.booster, missing=True)[0],
    ):
        branches = np.array(trees.nodes["modes"]) != "LEAF"
        assert set(np.array(trees.nodes["missing_value_tracks_true"])[branches].tolist()) == {0, 1}


def test_explanations_sum_to_the_margin_and_name_what_is_missing_or_unseen(twin: Fitted) -> None:
    raw = np.array([[np.nan, OTHER, np.nan, 1.0, np.nan, np.nan, 4.0], [0.0, 1.0, 2.0, 0.0, 1.0, 0.2, 0.0]])
    features = twin.transform(raw)
    explainer = Explainer(twin.bundle)
    margin = explainer.contributions(features).sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), twin.ensemble.boosted(features), atol=1e-5)
    strange, plain = explainer.explain(raw, np.zeros(2), top=40)
    assert {"feature": "country", "value": "other"} in strange.warnings
    assert plain.warnings == []
    assert [reason["value"] for reason in strange.reasons if reason["feature"] == "score"] == [None]
    assert unseen_categories(twin.transform.contract, raw) == {0: [{"feature": "country", "value": "other"}]}


def test_a_bundle_keeps_missing_values_and_categories(twin: Fitted, tmp_path: Path) -> None:
    twin.bundle.write(tmp_path)
    again: Bundle = read_bundle(tmp_path, twin.bundle.digest)
    manifest = again.manifest
    assert manifest.contract == twin.transform.contract
    assert manifest.transform.shares == twin.transform.shares
    assert any(None in row.raw for row in manifest.golden_rows)
    assert "NaN" not in (tmp_path / "manifest.json").read_text()
    assert Scorer(again, threads=1).replay_golden_rows() <= PARITY_TOLERANCE


def test_drift_counts_what_is_missing(data: Dataset, twin: Fitted) -> None:
    manifest = twin.bundle.manifest
    features = twin.transform(data.raw)
    counts = DriftCounts.of(
        data.contract,
        manifest.drift_baseline,
        manifest.statistics,
        data.raw,
        features,
        np.zeros(len(data)),
        data.weight,
    )
    score = list(manifest.drift_baseline.edges).index("score")
    assert counts.missing[score] == np.isnan(data.raw[:, 5]).sum()
    assert manifest.drift_baseline.missing["score"] == pytest.approx(0.2, abs=0.03)
    assert manifest.drift_baseline.missing.keys() == data.contract.may_miss


def test_missing_values_are_held_against_the_training_rows(data: Dataset, twin: Fitted) -> None:
    manifest = twin.bundle.manifest
    limits = MonitorLimits.load().drift

    def breached(raw: np.ndarray) -> set[str]:
        features, weight = twin.transform(raw), np.ones(len(raw))
        hybrid = Scorer(twin.bundle, threads=1).score_features(features).hybrid
        baseline = manifest.drift_baseline
        significance = limits.significance(len(watched_names(data.contract)))
        drifts = compare(data.contract, baseline, manifest.statistics, raw, features, hybrid, weight, significance)
        figures = [figure for each in drifts for figure in drift_figures(each, limits)]
        return {figure.metric for figure in figures if figure.breached and "missing" in figure.metric}

    fresh = cleaned_raw(visits(3_000, seed=12), data.contract)
    assert breached(fresh) == set()
    fresh[::3, 5] = np.nan
    assert {name for name in breached(fresh) if "no_score" not in name} == {"missing_score"}


def test_three_hundred_fields_are_fitted_and_scored() -> None:
    contract, frame = WIDE, wide_transactions(1_500, seed=0)
    data, _report, _table = cleaned(frame, contract)
    twin = fit_twin(split_by_time(data), SMALL, LocalEngine(), {"source": "file"})
    assert worst_difference(twin, twin.transform(data.raw)) <= PARITY_TOLERANCE
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    np.testing.assert_array_equal(_raw(contract, batch)[0], data.raw)
    hybrid = Scorer(twin.bundle, threads=1).score(data.raw).hybrid
    assert hybrid[data.label == 1].mean() > 2 * hybrid[data.label == 0].mean()
