"""What any version must do, whatever it has learnt. ``pytest tests/model --model-version V`` asks a registered one."""

import numpy as np
import pandas as pd
import pytest

from ml_project.calibration import log_odds
from ml_project.operators import SECONDS_PER_DAY
from ml_project.reasons import Explainer
from ml_project.scorer import PARITY_TOLERANCE
from pipelines.up.run import sample_transactions
from tests.model.conftest import Model
from tests.support.creditcard import RAW_FEATURES

SCORES = ["hybrid_score", "fraud_probability"]


def test_scores_lie_between_0_and_1(model: Model, transactions: pd.DataFrame) -> None:
    extreme = transactions.head(4).copy()
    extreme.loc[:, "Amount"] = [0.0, 0.01, 25_691.16, 1e7]
    extreme.loc[:, "V14"] = [-1e3, 1e3, 0.0, -19.2]
    answer = model.predict(pd.concat([transactions, extreme], ignore_index=True))
    assert np.isfinite(answer[SCORES]).all(axis=None)
    assert answer[SCORES].min(axis=None) >= 0
    assert answer[SCORES].max(axis=None) <= 1


def test_a_batch_scores_like_single_rows(model: Model, transactions: pd.DataFrame) -> None:
    rows = transactions.head(60)
    batch = model.predict(rows)
    single = pd.concat([model.predict(rows.iloc[[place]]) for place in range(len(rows))])
    np.testing.assert_allclose(single[SCORES], batch[SCORES], rtol=0, atol=PARITY_TOLERANCE)
    assert single["decision"].tolist() == batch["decision"].tolist()


def test_duplicates_score_equal_wherever_they_stand(model: Model, transactions: pd.DataFrame) -> None:
    shuffled = transactions.sample(frac=1, random_state=1)
    answer = model.predict(pd.concat([transactions, shuffled], ignore_index=True))
    first, second = answer.iloc[: len(transactions)], answer.iloc[len(transactions) :]
    np.testing.assert_array_equal(first[SCORES].to_numpy()[shuffled.index], second[SCORES].to_numpy())


def test_columns_are_found_by_name(model: Model, transactions: pd.DataFrame) -> None:
    permuted = transactions[sorted(transactions.columns, reverse=True)]
    pd.testing.assert_frame_equal(model.predict(permuted), model.predict(transactions))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["Time", "V1", "V28", "Amount"])
def test_what_is_not_a_number_is_refused(model: Model, transactions: pd.DataFrame, column: str, value: float) -> None:
    spoiled = transactions.head(20).copy()
    spoiled.loc[7, column] = value
    with pytest.raises(Exception, match=rf"Row 7: {column} is {value}"):  # MLflow may wrap it
        model.predict(spoiled)


def test_a_missing_column_is_refused(model: Model, transactions: pd.DataFrame) -> None:
    with pytest.raises(Exception, match="V17"):
        model.predict(transactions.drop(columns="V17"))


@pytest.mark.parametrize("factor", [2.0, 10.0, 100.0])
def test_more_money_at_stake_is_never_taken_much_more_lightly(
    model: Model, transactions: pd.DataFrame, factor: float
) -> None:
    """What approving would lose, probability times amount, must not fall when only the amount grows."""
    rows = transactions[transactions["Amount"] >= 1]
    more = rows.assign(Amount=rows["Amount"] * factor)
    before, after = model.predict(rows), model.predict(more)
    at_stake = before["fraud_probability"] * rows["Amount"]
    assert (after["fraud_probability"] * more["Amount"] >= 0.9 * at_stake).mean() >= 0.99
    declined, approved = before["decision"] == "DECLINE", after["decision"] == "APPROVE"
    assert (declined & approved).sum() <= 0.05 * max(declined.sum(), 20)


def test_the_day_does_not_matter_only_its_hour(model: Model, transactions: pd.DataFrame) -> None:
    whole = transactions.assign(Time=transactions["Time"].round())
    later = whole.assign(Time=whole["Time"] + 365 * SECONDS_PER_DAY)
    pd.testing.assert_frame_equal(model.predict(later), model.predict(whole))


def test_decisions_follow_the_thresholds(model: Model, transactions: pd.DataFrame) -> None:
    answer, thresholds = model.predict(transactions), model.bundle.manifest.thresholds
    assert 0 < thresholds.alert <= thresholds.decline
    assert set(answer["threshold_used"]) == {thresholds.alert}
    expected = np.where(
        answer["hybrid_score"] >= thresholds.decline,
        "DECLINE",
        np.where(answer["hybrid_score"] >= thresholds.alert, "REVIEW", "APPROVE"),
    )
    assert answer["decision"].tolist() == expected.tolist()
    assert answer["fraud"].tolist() == (expected != "APPROVE").astype(int).tolist()


def test_probabilities_keep_the_order_of_scores(model: Model, transactions: pd.DataFrame) -> None:
    answer = model.predict(transactions).sort_values("hybrid_score")
    assert (np.diff(answer["fraud_probability"]) >= -1e-6).all()


def test_a_blatant_fraud_scores_above_ordinary_transactions(model: Model) -> None:
    blatant, *ordinary = sample_transactions(20)
    answer = model.predict(pd.DataFrame([blatant, *ordinary]))
    assert answer["hybrid_score"].iloc[0] > answer["hybrid_score"].iloc[1:].max()


def test_reasons_sum_to_the_margin(model: Model, transactions: pd.DataFrame) -> None:
    raw = transactions[list(RAW_FEATURES)].to_numpy()
    features = model.bundle.manifest.transform(raw)
    margin = Explainer(model.bundle).contributions(features).sum(axis=1)
    boosted = model.scorer.score(raw).boosted
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), boosted, atol=1e-5)
    inner = (boosted > 1e-4) & (boosted < 1 - 1e-4)
    np.testing.assert_allclose(margin[inner], log_odds(boosted[inner]), atol=1e-2)


def test_golden_rows_are_reproduced(model: Model) -> None:
    assert model.scorer.replay_golden_rows() <= PARITY_TOLERANCE
