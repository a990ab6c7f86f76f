"""What came before is brought in, whatever is there already: base data, kept decisions and their labels."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete, func, select

from ml_project.cleaning import CleaningReport
from ml_project.dataset import events_of, with_history
from ml_project.errors import InvalidInput
from ml_project.history import compute_history
from pipelines.data.ingest import IngestedMeta, content_digest, write_ingested
from pipelines.data.past_events import base_events, rebuild
from pipelines.monitoring.known_past import differing_pasts
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, Holdings, LabelItem, PersonalKey, open_store
from stores.decisions.event_plan import EventPlan, event_id, microseconds
from stores.decisions.schema import event_changes, event_series, events, key_events
from tests.support.creditcard import CREDITCARD
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, decided, history_table

PLAN = EventPlan.of(CONTRACT)
ROWS, BASE = 120, 70


@pytest.fixture
def table() -> pd.DataFrame:
    return history_table(ROWS, seed=5)


@pytest.fixture
def settings(tmp_path: Path, table: pd.DataFrame, database_url: str) -> PipelineSettings:
    """With the first rows as base data."""
    (tmp_path / "history.yaml").write_text(HISTORY_OF_DAYS)
    made = PipelineSettings(state_dir=tmp_path, contract=str(tmp_path / "history.yaml"), database_url=database_url)
    base = with_history(table[:BASE], CONTRACT).assign(sampling_weight=1.0)
    report = CleaningReport(BASE, BASE, 0, 0, {}, 0)
    made.dataset_path.parent.mkdir(parents=True, exist_ok=True)
    meta = IngestedMeta("file", "base", content_digest(base), report, CONTRACT.digest)
    write_ingested(base, meta, made.dataset_path)
    return made


@pytest.fixture
def store(database_url: str) -> Iterator[DecisionStore]:
    with open_store(database_url) as opened:
        yield opened


def test_base_data_and_decisions_are_brought_in_once(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    records = decided(table[BASE:-1])
    store.add(records)
    frauds = table["fraud"][BASE:-1].tolist()
    labels = [
        LabelItem(prediction_id=record.prediction_id, label=fraud)
        for record, fraud in zip(records, frauds, strict=True)
    ]
    store.label(labels, "somebody")
    with store.engine.begin() as connection:  # as in an older backup
        for gone in (events, event_changes, key_events, event_series):
            connection.execute(delete(gone))
    again = replace(records[1], prediction_id="00000000-0000-7000-8000-00000000ffff")
    store.replay([again])  # a transaction that was answered twice, the second time from the spool
    done = rebuild(settings, CONTRACT)
    assert (done.base, done.decided, done.added) == (BASE, len(records), BASE + len(records))
    assert rebuild(settings, CONTRACT).added == 0
    row = table.iloc[-1].to_dict()
    last = PLAN.event(event_id("history", None, "p"), microseconds(row["at"].to_pydatetime()), row)
    expected = compute_history(CONTRACT, events_of(table, CONTRACT))[-1]
    np.testing.assert_array_equal(store.histories_of(PLAN, [(last, [])])[0], expected)


def test_what_gateways_look_up_is_held_against_what_is_kept(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    """A transaction that is missing and one of another amount are noticed."""
    store.add(decided(table[BASE:-1]))
    rebuild(settings, CONTRACT)
    asked, differ = differing_pasts(settings, CONTRACT)
    assert asked >= 40
    assert differ == 0
    with store.engine.begin() as connection:
        end = microseconds(table["at"].iloc[BASE - 1].to_pydatetime())
        newest = select(func.max(key_events.c.at)).where(key_events.c.at <= end).scalar_subquery()
        assert connection.execute(delete(key_events).where(key_events.c.at == newest)).rowcount
    assert differing_pasts(settings, CONTRACT)[1] > 0


def test_what_no_feature_can_ask_for_is_left_out(table: pd.DataFrame) -> None:
    old = table.assign(at=table["at"] - pd.Timedelta(days=400))
    both = with_history(pd.concat([old, table], ignore_index=True), CONTRACT)
    in_reach = table["at"] > table["at"].max() - pd.Timedelta(days=10)
    assert len(base_events(PLAN, both)) == in_reach.sum()


def test_rows_without_a_name_are_told_apart(table: pd.DataFrame) -> None:
    twice = with_history(pd.concat([table[:1], table[:1]], ignore_index=True), CONTRACT)
    first, second = (each.event_id for each in base_events(PLAN, twice))
    assert first != second
    assert [each.event_id for each in base_events(PLAN, twice)] == [first, second]


def test_a_contract_without_history_has_nothing_to_bring_in(settings: PipelineSettings) -> None:
    with pytest.raises(InvalidInput, match="no features from history"):
        rebuild(settings, CREDITCARD)


SECRET = "a secret of the bank"


def test_keys_are_brought_in_as_gateways_keep_them(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    """As hashes of base data's keys and of those decided before the secret was set; what is hashed is not hashed again.

    The features are those of the plain keys.
    """
    hashed = PipelineSettings(**settings.model_dump() | {"key_secret": SECRET})
    keys = hashed.key_hash
    assert keys is not None
    later = table[BASE:-1].copy()
    since = later.index >= 90
    for name in CONTRACT.entities:
        known = keys.of_all(name, later[name].tolist())
        later[name] = np.where(since, np.array(known, dtype=object), later[name])
    store.add(decided(later))
    with store.engine.begin() as connection:
        for gone in (events, key_events, event_series):
            connection.execute(delete(gone))
    assert rebuild(hashed, CONTRACT).added == ROWS - 1
    with store.engine.connect() as connection:
        kept = set(connection.scalars(select(key_events.c.key)))
        words = set(connection.scalars(select(key_events.c.word).where(key_events.c.word.is_not(None))))
    shops = {keys.of("shop", name) for name in "xy"}
    assert kept == {keys.of("card", name) for name in "abc"} | shops
    assert words == shops
    row = table.iloc[-1].to_dict()
    given = row | {"card": keys.of("card", row["card"]), "shop": row["shop"] and keys.of("shop", row["shop"])}
    last = PLAN.event(event_id("history", None, "p"), microseconds(row["at"].to_pydatetime()), given)
    expected = compute_history(
        CONTRACT, events_of(table.assign(fraud=table["fraud"].where(table.index < BASE, 0)), CONTRACT)
    )
    np.testing.assert_array_equal(store.histories_of(PLAN, [(last, [])])[0], expected[-1])


def test_a_row_without_a_name_stays_the_same_when_its_keys_go(table: pd.DataFrame) -> None:
    """So that a key taken out of the table, to be forgotten, does not make its transactions count again."""
    before = [each.event_id for each in base_events(PLAN, with_history(table, CONTRACT))]
    after = table.assign(card=table["card"].where(table["card"] != "a", "z"))
    assert [each.event_id for each in base_events(PLAN, with_history(after, CONTRACT))] == before


def test_what_was_forgotten_is_not_brought_in_again(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    """Base data that still have the key bring back nothing; decisions have it no more, and count for their shops."""
    store.add(decided(table[BASE:-1]))
    rebuild(settings, CONTRACT)
    key = PersonalKey("card", ("a",))
    erased = store.forgetting(CONTRACT.contract, key).erase()
    assert erased.past == int((table["card"][:-1] == "a").sum())
    assert rebuild(settings, CONTRACT).added == 0
    assert store.forgetting(CONTRACT.contract, key).held() == Holdings()
    with store.engine.begin() as connection:  # as in an older backup
        for gone in (events, event_changes, key_events, event_series):
            connection.execute(delete(gone))
    settings.dataset_path.unlink()
    assert rebuild(settings, CONTRACT).added == ROWS - 1 - BASE
    assert store.forgetting(CONTRACT.contract, key).held() == Holdings()
    row = table.iloc[-1].to_dict() | {"card": "b", "shop": "x"}
    last = PLAN.event(event_id("history", None, "p"), microseconds(row["at"].to_pydatetime()), row)
    left = pd.concat([table[BASE:-1], pd.DataFrame([row])], ignore_index=True).assign(fraud=0)
    expected = compute_history(CONTRACT, events_of(left, CONTRACT))[-1]
    np.testing.assert_array_equal(store.histories_of(PLAN, [(last, [])])[0], expected)
