import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.gateway.load import in_key_order
from benchmarks.league import retraining, run, served
from benchmarks.league.entries import ENTRIES, OPEN, RECIPE, platform
from benchmarks.league.protocol import CHOICE_WEEKS, TEST_WEEKS, day_number, test_rows, training_rows
from benchmarks.league.run import measure, page, report, served_report, table
from benchmarks.league.served import serve
from benchmarks.league.transactions import League, authors_features, league, league_of
from ml_project.simulator_cards import CardWorld, simulate_cards
from tests.support.machine import HANDBOOK_EVENTS, HANDBOOK_FEATURES, missing

test_rows.__test__ = False  # type: ignore[attr-defined]  # a function of the protocol

FIRST = TEST_WEEKS[0]
QUICK = replace(
    OPEN, booster=replace(OPEN.booster, rounds=10, max_bin=64), forest=replace(OPEN.forest, trees=2, max_samples=64)
)


@pytest.fixture(scope="module")
def small() -> League:
    return league(rows=40_000)


def transactions_of(days: int) -> pd.DataFrame:
    world = replace(CardWorld.of_rows(8_000, days), first_day=FIRST - timedelta(days=days - 8))
    return pd.concat(simulate_cards(world), ignore_index=True)


def test_training_ends_seven_days_before_the_week(small: League) -> None:
    days = small.day[training_rows(small, FIRST, 30)]
    assert (days.min(), days.max()) == (day_number(date(2018, 7, 2)), day_number(date(2018, 7, 31)))


def test_customers_known_to_be_defrauded_are_left_out_from_the_day_on_that_they_are_known(small: League) -> None:
    begin = day_number(FIRST)
    expected = []
    for row in np.flatnonzero((small.day >= begin) & (small.day < begin + 7)):
        number = int(small.day[row]) - begin
        of_customer = (small.customer == small.customer[row]) & (small.ours.label == 1)
        known = (small.day >= begin - 14) & (small.day <= begin - 8 + number)
        if not (of_customer & known).any():
            expected.append(row)
    week = np.flatnonzero((small.day >= begin) & (small.day < begin + 7))
    assert 0 < len(expected) < len(week)
    assert test_rows(small, FIRST).tolist() == expected


def test_labels_of_the_delay_are_unknown_to_every_entry() -> None:
    """Flipping all labels of the last six days changes no score of the week's first day."""
    frame = transactions_of(60)
    late = frame["at"] >= pd.Timestamp(FIRST - timedelta(days=6), tz="UTC")
    other = frame.assign(fraud=np.where(late, 1 - frame["fraud"], frame["fraud"]).astype(np.int8))
    assert late.sum() > 500
    scores = []
    for each in (frame, other):
        found = league_of(each, "simulated", 5)
        today = np.flatnonzero(found.day == day_number(FIRST))
        ours = platform(QUICK)(found.ours.take(training_rows(found, FIRST, 30)))(found.ours.take(today))
        theirs = ENTRIES[0].fitted(found, FIRST)(today)
        scores.append(np.stack([ours, theirs]))
    np.testing.assert_array_equal(*scores)


def test_all_choice_weeks_end_before_the_test_weeks() -> None:
    assert max(CHOICE_WEEKS) + timedelta(days=7) == min(TEST_WEEKS) == date(2018, 8, 8)


def test_the_whole_league_on_few_simulated_transactions(small: League) -> None:
    entries = [replace(each, fit=platform(QUICK)) if each.key in ("closed", "open") else each for each in ENTRIES]
    said: list[str] = []
    choice, test = (measure(small, weeks[:1], entries, 50, said.append) for weeks in (CHOICE_WEEKS, TEST_WEEKS))
    assert len(said) == 2
    content = json.loads(json.dumps(report(small, choice, test, entries)))
    [week] = [week for week in content["weeks"] if week["kind"] == "test"]
    assert week["frauds"] == int(small.ours.label[test_rows(small, FIRST)].sum()) > 0
    for entry in content["entries"]:
        figures = week["entries"][entry["key"]]
        assert entry["test"]["average_precision"] == figures["average_precision"]["value"]
        assert entry["chosen_on"]
        if entry["key"] != RECIPE:
            gain = figures["average_precision"]["value"] - week["entries"][RECIPE]["average_precision"]["value"]
            assert figures["difference"]["value"] == pytest.approx(gain, abs=2e-4)
            assert figures["difference"]["low"] <= figures["difference"]["high"]
    assert week["expected"].keys() == {"average_precision", "precision", "recall"}
    for each in week["expected"].values():
        assert each["low"] <= each["value"] <= each["high"]
    ours = small.ours.label[(small.day >= day_number(FIRST)) & (small.day < day_number(FIRST) + 7)]
    alerts = small.cards_per_day * 7
    later = week["expected"]
    assert later["recall"]["later"] * ours.sum() == pytest.approx(later["precision"]["later"] * alerts, rel=0.2)
    told, html = table(content), page({**content, "minutes": 1.0})
    for name in ("published: XGBoost", "platform, open class", "authors' recipe"):
        assert name in told
    assert "0.687" in told
    assert "0.687" in html
    assert f"{content['entries'][3]['test']['average_precision']:.3f}" in html
    assert html.count("<svg") == 2
    assert max(map(len, told.splitlines())) <= 80


def test_simulated_results_do_not_replace_the_handbooks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = tuple(replace(each, fit=platform(QUICK)) for each in ENTRIES)
    monkeypatch.setattr(run, "measure", lambda found, weeks, **_more: measure(found, weeks[:1], entries, 20, str))
    monkeypatch.setattr(run, "SIMULATED", tmp_path)
    monkeypatch.setattr("sys.argv", ["league", "--simulated", "30000", "--parts", "table"])
    run.main()
    assert "simulated transactions" in capsys.readouterr().out
    kept = json.loads((tmp_path / "league.json").read_text())
    assert kept["source"].startswith("simulated")
    assert (tmp_path / "league.html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_the_winner_answers_as_it_scores_offline(
    small: League, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two weeks through a real gateway, the second by another version, with labels on the way."""
    monkeypatch.setattr(served, "OPEN", QUICK)
    found = list(serve(small, TEST_WEEKS[:2], tmp_path, replicates=20, told=str))
    offline = [platform(QUICK)(small.ours.take(training_rows(small, day, 30))) for day in TEST_WEEKS[:2]]
    for week, score in zip(found, offline, strict=True):
        assert (
            week.requests
            == int(((small.day >= day_number(week.first_day)) & (small.day < day_number(week.first_day) + 7)).sum())
            > 1_000
        )
        assert week.different == 0
        rows = test_rows(small, week.first_day)
        expected = run.figures(small, rows, score(small.ours.take(rows)), 20)
        assert week.figures.average_precision.value == pytest.approx(expected.average_precision.value, abs=1e-6)
    content = served_report(found)
    assert content["requests"] == sum(week.requests for week in found)
    assert 0 < content["p50"] <= content["p99"]


def test_rules_of_retraining_on_few_transactions(small: League, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "SETTINGS", QUICK)
    said: list[str] = []
    content, html = retraining.measure_retraining(small, 200, said.append)
    assert content["weeks"] == len(said) == 17
    assert content["first_day"] == "2018-05-09"
    rules = {each["key"]: each for each in content["rules"]}
    assert rules["never"]["trainings"] == 1
    assert rules["weekly_sliding"]["trainings"] == 17
    assert rules["monthly_growing"]["trainings"] == 5
    assert max(each["behind_the_best"]["value"] for each in rules.values()) == 0
    for each in rules.values():
        gain = each["saved_per_day"] - rules["never"]["saved_per_day"]
        assert each["more_than_never"]["value"] == pytest.approx(gain, abs=0.02)
    told = retraining.table(content)
    assert max(map(len, told.splitlines())) <= 80
    assert html.count("<svg") == 3
    for each in rules.values():
        assert each["name"] in told
        assert each["name"] in html


def test_rows_that_share_a_key_wait_for_each_other() -> None:
    rng = np.random.default_rng(0)
    keys = [rng.integers(0, 20, 400).tolist(), rng.integers(0, 50, 400).tolist()]
    begun: list[int] = []
    ended: list[int] = []

    def act(row: int) -> None:
        earlier = {each for kind in keys for each in range(row) if kind[each] == kind[row]}
        assert earlier <= set(ended)
        ended.append(row)

    in_key_order(keys, act, begun.append, clients=5)
    assert begun == list(range(400))
    assert sorted(ended) == begun


def test_a_failure_of_one_client_ends_the_others() -> None:
    def act(row: int) -> None:
        if row == 3:
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"):
        in_key_order([[0] * 50], act, clients=4)


@pytest.mark.slow
def test_the_authors_features_are_those_that_they_published() -> None:
    """But for transactions of one customer or terminal in one second, which its authors' sorting left in no order."""
    for path in (HANDBOOK_EVENTS, HANDBOOK_FEATURES):
        if not path.is_file():
            missing(str(path))
    events = pd.read_parquet(HANDBOOK_EVENTS)
    theirs = pd.read_parquet(HANDBOOK_FEATURES).set_index("TRANSACTION_ID")
    names = {"TX_DATETIME": "at", "CUSTOMER_ID": "customer", "TERMINAL_ID": "terminal", "TX_AMOUNT": "amount"}
    frame = events.rename(columns={**names, "TX_FRAUD": "fraud"}).assign(
        at=lambda given: given["at"].dt.tz_localize("UTC")
    )
    told = ~frame.duplicated(["customer", "at"], keep=False).to_numpy()
    ours = authors_features(frame).assign(TRANSACTION_ID=events["TRANSACTION_ID"])[told]
    ours = ours.set_index("TRANSACTION_ID")
    ours = ours.loc[ours.index.intersection(theirs.index)]
    theirs = theirs.loc[ours.index]
    assert len(ours) > 630_000
    pairs = {"night": "TX_DURING_NIGHT", "weekend": "TX_DURING_WEEKEND"}
    for days in (1, 7, 30):
        pairs[f"customer_count_{days}d"] = f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"
        pairs[f"customer_mean_{days}d"] = f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"
        pairs[f"terminal_late_count_{days}d"] = f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"
        pairs[f"terminal_fraud_rate_{days}d"] = f"TERMINAL_ID_RISK_{days}DAY_WINDOW"
    assert len(ours.columns) == 1 + len(pairs)
    for mine, published in pairs.items():
        difference = (ours[mine] - theirs[published]).abs().max()
        assert difference < 1e-9, mine
