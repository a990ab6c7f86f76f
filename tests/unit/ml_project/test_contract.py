import json
import pickle

import numpy as np
import pandas as pd
import pytest

from ml_project.cleaning import clean
from ml_project.contract import Contract
from ml_project.contract_check import RESERVED, contract_faults
from ml_project.contract_parts import MAX_MAGNITUDE, Label
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.features import RATIO_GUARD, FeatureTransform
from ml_project.fitting import Fitted, fit_twin, parity
from ml_project.reasons import Explainer
from ml_project.scorer import Scorer
from ml_project.split import split_by_time
from tests.support.creditcard import CREDITCARD
from tests.support.shop import SHOP, shop_transactions


def former_features(raw: np.ndarray, mean: float, std: float) -> np.ndarray:
    """The 37 features as they were computed before there were contracts, on all rows at once."""
    components = np.ascontiguousarray(raw[:, 1:29])
    amounts, divisor = raw[:, 29], raw[:, 2]
    guarded = np.copysign(np.maximum(np.abs(divisor), RATIO_GUARD), divisor + 0.0)
    centred = components - np.add.reduce(components, axis=1, keepdims=True) / 28
    features = np.empty((len(raw), 37), dtype=np.float32)
    features[:, :30] = raw
    features[:, 0] = np.minimum(np.mod(raw[:, 0], 86_400) / 3600, np.nextafter(np.float32(24), np.float32(0)))
    features[:, 30] = (amounts - mean) / std
    features[:, 31] = np.log1p(amounts)
    features[:, 32] = raw[:, 1] / guarded
    features[:, 33] = amounts > 1000.0
    features[:, 34] = np.add.reduce(centred * centred, axis=1) / 28
    features[:, 35] = np.maximum.reduce(np.abs(components), axis=1)
    features[:, 36] = np.add.reduce(np.abs(components), axis=1) / 28
    return features


def test_the_public_table_has_its_30_fields_and_37_features() -> None:
    components = [f"V{number}" for number in range(1, 29)]
    assert CREDITCARD.raw_fields == ("Time", *components, "Amount")
    assert CREDITCARD.feature_names == (*CREDITCARD.raw_fields, *CREDITCARD.engineered)
    assert CREDITCARD.engineered == (
        *("amount_zscore", "amount_log", "v1_v2_ratio", "high_value"),
        *("variance_all", "max_abs_v", "mean_abs_v"),
    )
    assert CREDITCARD.left_out == ("Time", "Amount", "amount_zscore", "amount_log", "v1_v2_ratio", "high_value")
    assert (CREDITCARD.time, CREDITCARD.amount, CREDITCARD.clock) == ("Time", "Amount", "Time")
    assert (CREDITCARD.label_field, CREDITCARD.weight) == ("Class", "Weight")
    assert (CREDITCARD.event_time, CREDITCARD.transaction_id) == ("event_time", "transaction_id")
    assert {each.monotone for each in CREDITCARD.features} == {"learnt"}


def test_its_features_are_bit_for_bit_what_they_were(real_sample: pd.DataFrame) -> None:
    data = Dataset.from_frame(real_sample, CREDITCARD)
    transform = FeatureTransform.fit(CREDITCARD, data.raw, data.weight)
    scale = transform.scales["amount_zscore"]
    expected = former_features(data.raw, scale.mean, scale.std)
    assert transform(data.raw).tobytes() == expected.tobytes()
    alone = np.concatenate([transform(row[None]) for row in data.raw[:300]])
    assert alone.tobytes() == expected[:300].tobytes()


def test_a_contract_survives_json_and_pickle_with_its_digest() -> None:
    for contract in (CREDITCARD, SHOP):
        for again in (
            Contract.model_validate(json.loads(json.dumps(contract.to_dict()))),
            pickle.loads(pickle.dumps(contract)),
        ):
            assert again == contract
            assert again.digest == contract.digest
            assert again.features == contract.features
    assert CREDITCARD != SHOP
    assert Contract.model_validate(SHOP.to_dict() | {"version": 2}) != SHOP


def test_fields_without_a_role_in_the_contract_keep_the_platforms_names() -> None:
    assert (SHOP.event_time, SHOP.transaction_id, SHOP.weight) == ("event_time", "transaction_id", "sampling_weight")
    assert SHOP.known_columns[-8:-1] == SHOP.engineered[:-1]


def test_values_that_cannot_be_scored() -> None:
    raw = np.zeros((1, 6))
    assert not SHOP.unusable(raw).any()
    place = SHOP.raw_fields.index("1st")
    for value, said in (
        (np.nan, "not finite"),
        (-np.inf, "not finite"),
        (2e15, "above 1e+15 in size"),
        (51.0, "above 50"),
        (-51.0, "below -50"),
    ):
        changed = raw.copy()
        changed[0, place] = value
        assert np.argwhere(SHOP.unusable(changed)).tolist() == [[0, place]]
        assert SHOP.fault(place, value) == said
    assert SHOP.fault(1, -0.5) == "negative"
    assert SHOP.unusable(np.array([[0, 0, -MAX_MAGNITUDE, 0, MAX_MAGNITUDE, 0]])).sum() == 0


def faults(contract: Contract, **update: object) -> list[str]:
    parts = {"fields": contract.fields, "label": contract.label, "features": contract.features} | update
    return [f"{'.'.join(each.place)}: {each.cause}" for each in contract_faults(**parts)]  # type: ignore[arg-type]


def with_field(name: str, /, **changes: object) -> tuple[object, ...]:
    return tuple(each.model_copy(update=changes) if each.name == name else each for each in SHOP.fields)


def with_feature(name: str, /, **changes: object) -> tuple[object, ...]:
    return tuple(each.model_copy(update=changes) if each.name == name else each for each in SHOP.features)


@pytest.mark.parametrize(
    ("update", "place", "said"),
    [
        ({"fields": with_field("no", name="class")}, "fields.class", "two fields have this name"),
        ({"fields": with_field("no", name="CLASS")}, "fields.CLASS", "another field's name differs only in case"),
        (
            {"fields": with_field("no", name="decision")},
            "fields.decision",
            "tables of decisions have a column of this name",
        ),
        (
            {"fields": with_field("no", name="event_time")},
            "fields.event_time",
            "this name is reserved for the role event_time",
        ),
        ({"fields": with_field("no", type="string")}, "fields.no", "type string for a field without a role"),
        ({"fields": with_field("no", role="event_time")}, "fields.no", "type number for role event_time"),
        ({"fields": with_field("no", role="amount")}, "fields", "2 fields have the role amount"),
        (
            {"fields": with_field("betrag.in.€", required=False)},
            "fields.betrag.in.€",
            "the role amount may not be missing: costs need it",
        ),
        (
            {"fields": with_field("no", type="boolean", minimum=0.0)},
            "fields.no",
            "limits on a field that is not scored as",
        ),
        ({"fields": with_field("no", values=("a",))}, "fields.no", "values on a field of type number"),
        ({"fields": with_field("no", type="category", values=("a", "a"))}, "fields.no", "a value is listed twice"),
        ({"fields": with_field("no", decimals=2)}, "fields.no", "decimals on a field that is not an integer amount"),
        ({"fields": with_field("no", type="boolean", example="yes")}, "fields.no", "the example 'yes' is no boolean"),
        (
            {"fields": with_field("no", type="category")},
            "features.no",
            "value takes a field of type number or integer or boolean, and no is a category",
        ),
        ({"label": Label(field="x", negative="FRAUD")}, "label", "'fraud' stands for two of fraud, legitimate and"),
        ({"fields": with_field("no", minimum=2.0, maximum=1.0)}, "fields.no", "minimum 2 is not below maximum 1"),
        ({"fields": with_field("no", maximum=1e16)}, "fields.no", "a limit above 1e+15 in size"),
        ({"label": SHOP.label.model_copy(update={"field": "no"})}, "label.field", "no is also a field"),
        ({"features": with_feature("no", operator="eval")}, "features.no", "there is no operator eval"),
        (
            {"features": with_feature("class_to_1st", of=("class",))},
            "features.class_to_1st",
            "ratio takes 2 of fields or features, not 1",
        ),
        (
            {"features": with_feature("spread", of=())},
            "features.spread",
            "variance takes at least 1 of fields or features, not 0",
        ),
        (
            {"features": with_feature("spread", of=("betrag_log",))},
            "features.spread",
            "variance takes fields only, and betrag_log is a feature",
        ),
        (
            {"features": with_feature("betrag_z", of=("class_to_1st",))},
            "features.betrag_z",
            "class_to_1st is neither a field nor an earlier feature",
        ),
        (
            {"features": with_feature("betrag_log", of=("class",))},
            "features.betrag_log",
            "log1p takes a field that is never below 0",
        ),
        (
            {"features": with_feature("hour", of=("class",))},
            "features.hour",
            "hour_of_day takes a timestamp or the field with the role time, and class is neither",
        ),
        ({"features": with_feature("large", between=(1.0, 2.0))}, "features.large", "above and between at once"),
        (
            {"features": with_feature("afternoon", between=(18.0, 12.0))},
            "features.afternoon",
            "between names a lower limit that is not below the upper one",
        ),
        (
            {"features": with_feature("large", name="a<b")},
            "features.a<b",
            "the name holds [, ] or <, which XGBoost's features cannot",
        ),
        ({"features": with_feature("large", name="class")}, "features.class", "two features have this name"),
        (
            {"features": with_feature("large", name="no")},
            "features.no",
            "it has the name of the field no but is not made from it",
        ),
    ],
)
def test_what_cannot_be_meant_is_said(update: dict[str, object], place: str, said: str) -> None:
    assert faults(SHOP) == []
    assert any(fault.startswith(f"{place}: {said}") for fault in faults(SHOP, **update))


def test_tables_of_decisions_have_no_column_that_a_field_may_be_named() -> None:
    from stores.decisions.archive import schema_of

    own = {*schema_of(CREDITCARD).names} - {*CREDITCARD.raw_fields}
    assert own - {"transaction_id", "event_time"} == RESERVED


@pytest.fixture(scope="module")
def own() -> Fitted:
    """A twin fitted on a table of another contract."""
    frame, _report = clean(shop_transactions(3_000, seed=1), SHOP)
    settings = EnsembleSettings(0.2, ForestSettings(20, 64), BoosterSettings(rounds=10, num_parallel_tree=2))
    return fit_twin(split_by_time(Dataset.from_frame(frame, SHOP)), settings, LocalEngine(), {"source": "file"})


def test_features_of_an_own_contract_by_hand() -> None:
    raw = np.array([[86_400 + 13.5 * 3600, 50.0, 4.0, -2.0, 9.0, 1.0]])
    transform = FeatureTransform.fit(SHOP, np.vstack([raw, raw + 10]), np.ones(2))
    row = dict(zip(SHOP.feature_names, transform(raw)[0].tolist(), strict=True))
    assert (row["hour"], row["afternoon"], row["large"]) == (13.5, 1.0, 1.0)
    assert (row["class_to_1st"], row["betrag_z"], row["1st"]) == (-2.0, -1.0, -2.0)
    assert row["log_to_ratio"] == np.float32(np.log1p(50.0) / -2.0)
    assert row["spread"] == np.float32(np.var([4.0, -2.0, 1.0]))
    assert transform(raw - [[5 * 3600, 20, 0, 0, 0, 0]])[0, [10, 11]].tolist() == [0.0, 0.0]


def test_an_own_contract_is_fitted_scored_and_explained(own: Fitted) -> None:
    rows = Dataset.from_frame(shop_transactions(1_000, seed=2), SHOP)
    assert parity(own, rows) <= 1e-5
    scorer = Scorer(own.bundle, threads=1)
    assert scorer.replay_golden_rows() <= 1e-5
    hybrid = scorer.score(rows.raw).hybrid
    assert hybrid[rows.label == 1].mean() > 5 * hybrid[rows.label == 0].mean()
    split_on = set(own.ensemble.booster.get_score())
    assert split_on <= set(SHOP.feature_names) - {'select "all"'}
    first = np.flatnonzero(rows.label)[:1]
    (explanation,) = Explainer(own.bundle).explain(rows.raw[first], np.zeros(1), top=3)
    assert {reason["feature"] for reason in explanation.reasons} & {"class", "1st", "class_to_1st"}


def test_drift_is_compared_within_the_hours_of_an_own_clock(own: Fitted) -> None:
    baseline = own.bundle.manifest.drift_baseline
    assert baseline.hourly
    assert "hour" not in baseline.edges
    assert set(baseline.edges) == {*SHOP.feature_names, "hybrid_score"} - {"hour"}


def grown(**field: object) -> Contract:
    return Contract.model_validate(
        CREDITCARD.to_dict() | {"version": 2, "fields": [*CREDITCARD.to_dict()["fields"], {"name": "risk", **field}]}
    )


@pytest.mark.parametrize(
    ("earlier", "later", "said"),
    [
        (CREDITCARD, grown(type="number", required=False), []),
        (CREDITCARD, grown(type="string", role="entity", required=False), []),
        (CREDITCARD, grown(type="number"), ["the field risk is required"]),
        (CREDITCARD, grown(type="string", role="entity"), ["the field risk is required"]),
        (grown(type="number"), CREDITCARD, ["the field risk has gone"]),
        (grown(type="number", required=False), CREDITCARD, ["the field risk has gone"]),
        (grown(type="number"), grown(type="number", required=False), []),
        (grown(type="number", required=False), grown(type="number"), ["the field risk is required"]),
        (grown(type="number"), grown(type="integer"), ["the field risk is a whole number, not a number"]),
        (SHOP, CREDITCARD, ["it is creditcard, version 1, not shop, version 1"]),
    ],
)
def test_a_later_version_may_only_have_more_fields_that_may_be_missing(
    earlier: Contract, later: Contract, said: list[str]
) -> None:
    assert later.refuses_of(earlier) == said
    assert later.reads_as(earlier) is earlier.reads_as(later)


def test_raw_transactions_of_one_version_are_those_of_another() -> None:
    fields = [{"name": "a", "type": "number"}, {"name": "kind", "type": "category", "values": ["x", "y"]}]
    rest = {"contract": "c", "label": {"field": "l"}, "features": [{"name": "a", "operator": "value", "of": ["a"]}]}
    one = Contract.model_validate({**rest, "fields": fields})
    turned = [{**fields[1], "values": ["z", "y"]}, {"name": "b", "type": "number", "required": False}, fields[0]]
    two = Contract.model_validate({**rest, "version": 2, "fields": turned})
    raw = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, -1.0], [4.0, np.nan]])
    assert one.translated(raw, one) is raw
    nothing = np.nan
    expected = [[-1.0, nothing, 1.0], [1.0, nothing, 2.0], [-1.0, nothing, 3.0], [nothing, nothing, 4.0]]
    np.testing.assert_array_equal(two.translated(raw, one), expected)
    expected[2][0] = 0.0
    np.testing.assert_array_equal(two.translated(raw, one, {"kind": ["x", "y", "z", None]}), expected)
