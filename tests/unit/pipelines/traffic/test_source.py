from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_project.errors import InvalidInput
from ml_project.simulator import FraudWave
from pipelines.traffic.source import TrafficPlan, TrafficTransaction, total, transactions
from tests.support.creditcard import RAW_FEATURES
from tests.support.history import CONTRACT, history_table

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
PLAN = TrafficPlan("simulated", START, timedelta(days=3), per_day=1_000, seed=4)


def values(sent: list[TrafficTransaction], name: str) -> np.ndarray:
    return np.array([each.body[name] for each in sent])


def test_what_happened_when() -> None:
    sent = list(transactions(PLAN))
    assert total(PLAN) == len(sent) == 3_000
    times = [each.event_time for each in sent]
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] <= START + timedelta(days=3)
    # the hour of day of the features is that of the event time
    for each in sent[::100]:
        midnight = each.event_time.replace(hour=0, minute=0, second=0, microsecond=0)
        assert each.body["Time"] % 86_400 == (each.event_time - midnight).total_seconds()
        assert datetime.fromisoformat(each.body["event_time"]) == each.event_time
    assert set(sent[0].body) == {*RAW_FEATURES, "transaction_id", "event_time"}
    assert len({each.transaction_id for each in sent}) == 3_000


def test_equal_plans_send_equal_transactions_and_others_do_not_share_their_names() -> None:
    assert list(transactions(PLAN)) == list(transactions(PLAN))
    first, other = (next(transactions(plan)) for plan in (PLAN, replace(PLAN, seed=5)))
    assert first.transaction_id != other.transaction_id


def test_drift_sets_in_where_it_is_asked_for() -> None:
    plan = replace(
        PLAN, per_day=4_000, drift={"V14": 2.0}, amount_factor=3.0, drift_after=timedelta(days=2), fraud_rate=0.01
    )
    sent = list(transactions(plan))
    assert total(plan) == len(sent) == 12_000
    turn = START + timedelta(days=2)
    before, after = ([each for each in sent if (each.event_time < turn) is early] for early in (True, False))
    assert values(after, "V14").mean() - values(before, "V14").mean() > 1.5
    assert np.median(values(after, "Amount")) > 2 * np.median(values(before, "Amount"))
    assert 60 < sum(each.fraud for each in sent) < 180


def test_a_wave_goes_on_across_the_turn() -> None:
    plan = replace(PLAN, per_day=4_000, drift_after=timedelta(days=2), fraud_wave=FraudWave(46, 4, 60))
    hours = np.array([(each.event_time - START) / timedelta(hours=1) for each in transactions(plan) if each.fraud])
    inside = (hours >= 46) & (hours < 50)
    assert inside.sum() > (~inside).sum()
    assert (hours[inside] < 48).any()
    assert (hours[inside] >= 48).any()


def test_a_file_from_its_first_row_on(tmp_path: Path, simulated_frame: pd.DataFrame) -> None:
    path = tmp_path / "bank.csv"
    simulated_frame.to_csv(path, index=False)
    plan = replace(PLAN, data=str(path), duration=timedelta(days=1))
    sent = list(transactions(plan))
    kept = simulated_frame[simulated_frame["Time"] < simulated_frame["Time"].iloc[0] + 86_400]
    assert total(plan) is None
    assert len(sent) == len(kept)
    assert sent[0].event_time == START
    assert [each.fraud for each in sent] == (kept["Class"] == 1).tolist()
    shifted = list(transactions(replace(plan, drift={"V3": 1.0})))
    apart = values(shifted, "V3") - values(sent, "V3")
    np.testing.assert_allclose(apart, simulated_frame["V3"].std(ddof=0))


def test_a_file_with_event_times_keeps_them(tmp_path: Path, simulated_frame: pd.DataFrame) -> None:
    path = tmp_path / "bank.parquet"
    moments = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(range(500), unit="min")
    simulated_frame.assign(event_time=moments).to_parquet(path)
    sent = list(transactions(replace(PLAN, data=str(path), duration=timedelta(hours=2))))
    assert [each.event_time for each in sent] == [moment.to_pydatetime() for moment in moments[:120]]


def test_what_cannot_be_sent_is_said_at_once(tmp_path: Path, simulated_frame: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="fraud_rate"):
        transactions(replace(PLAN, fraud_rate=2.0))
    path = tmp_path / "bank.csv"
    simulated_frame.drop(columns=["Class", "V7"]).to_csv(path, index=False)
    with pytest.raises(InvalidInput, match="missing column V7, Class"):
        next(transactions(replace(PLAN, data=str(path))))


def test_each_row_of_a_file_is_sent_under_its_own_keys(tmp_path: Path) -> None:
    table = history_table(60, seed=4)
    table.to_parquet(tmp_path / "t.parquet")
    plan = TrafficPlan(
        str(tmp_path / "t.parquet"), table["at"].iloc[0].to_pydatetime(), timedelta(days=60), 0, contract=CONTRACT
    )
    sent = [each.body for each in transactions(plan)]
    assert [each["card"] for each in sent] == table["card"].tolist()
    assert [each.get("shop") for each in sent] == table["shop"].tolist()
    assert [each["amount"] for each in sent] == table["amount"].tolist()
