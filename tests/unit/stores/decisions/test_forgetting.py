"""A forgotten key is nowhere, all else is as it was; and a purge takes nothing that a feature can ask for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, func, select

from ml_project.contract_file import parse_contract
from stores.decisions import (
    Conflict,
    DecisionStore,
    Holdings,
    PersonalKey,
    Stored,
    forgetting,
    open_store,
)
from stores.decisions.event_plan import EventPlan, HistoryEvent, event_number, microseconds
from stores.decisions.forgetting import compact
from stores.decisions.records import DecisionRecord, KeptContract
from stores.decisions.schema import contracts, event_changes, event_series, events, key_events, metadata, transactions
from stores.decisions.segments import new_segment_id
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, decided, decided_together, history_table

PLAN = EventPlan.of(CONTRACT)
ROWS = 150
CARD = PersonalKey("card", ("card-a",))
SHOP = PersonalKey("shop", ("shop-x",))

T = TypeVar("T")


@pytest.fixture
def table() -> pd.DataFrame:
    """Keys that cannot be overlooked."""
    found = history_table(ROWS, seed=4)
    shops = [None if shop is None else f"shop-{shop}" for shop in found["shop"]]
    return found.assign(card="card-" + found["card"], shop=pd.Series(shops, dtype=object))


@pytest.fixture
def gateway(engine: Engine, way: None) -> DecisionStore:
    """Another process, which has in memory what it was asked for."""
    return DecisionStore(engine)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("MOST", 7), ("PAGE", 11), ("SCAN", 13)):
        monkeypatch.setattr(forgetting, name, size)


def past(table: pd.DataFrame, plan: EventPlan = PLAN) -> list[HistoryEvent]:
    rows: list[dict[str, Any]] = table.to_dict("records")
    return [
        plan.event(f"history\x1fpast {place}", microseconds(row["at"].to_pydatetime()), row, row["fraud"])
        for place, row in enumerate(rows)
    ]


def features(store: DecisionStore, table: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Of a transaction of each card at each shop, a day after the last one."""
    at = microseconds(table["at"].max().to_pydatetime() + timedelta(days=1))
    given = {"amount": 1.0, "points": 2.0, "distance": 3.0}
    asked = [
        PLAN.event("history\x1fnext", at, {**given, "card": card, "shop": shop})
        for card in ("card-a", "card-b", "card-c", "card-new")
        for shop in ("shop-x", "shop-y", "shop-new", None)
    ]
    return np.array(store.histories_of(PLAN, [(each, []) for each in asked])).reshape(4, 4, -1)


def by(entity: str) -> list[int]:
    return [place for place, feature in enumerate(CONTRACT.history) if feature.by == entity]


def everything(engine: Engine) -> str:
    with engine.connect() as connection:
        return "\n".join(
            repr(tuple(row)) for each in metadata.sorted_tables for row in connection.execute(select(each))
        )


def test_an_own_history_goes_and_those_of_others_stay(
    store: DecisionStore, gateway: DecisionStore, table: pd.DataFrame
) -> None:
    store.add_events(PLAN, past(table))
    before = features(gateway, table)
    mine, theirs = int((table["card"] == "card-a").sum()), int((table["shop"] == "shop-x").sum())
    assert store.forgetting("history", CARD).erase() == Holdings(past=mine)
    assert "card-a" not in everything(store.engine)
    after = features(gateway, table)
    np.testing.assert_array_equal(after[1:], before[1:])
    np.testing.assert_array_equal(after[0][:, by("shop")], before[0][:, by("shop")])
    np.testing.assert_array_equal(after[0][:, by("card")], before[3][:, by("card")])
    counted = int(((table["shop"] == "shop-x") & (table["card"] != "card-a")).sum())
    assert store.forgetting("history", SHOP).held() == Holdings(past=theirs, counted=counted)
    assert store.forgetting("history", SHOP).erase() == Holdings(past=theirs, counted=counted)
    assert "shop-x" not in everything(store.engine)
    last = features(gateway, table)
    # a shop nobody was at: how many different ones there were before it is what it was
    np.testing.assert_array_equal(last[1:, 2], before[1:, 2])
    np.testing.assert_array_equal(last[:, 0][:, by("shop")], before[:, 2][:, by("shop")])
    for key in (CARD, SHOP):
        assert store.forgetting("history", key).held() == Holdings()
        assert store.forgetting("history", key).erase() == Holdings()


def test_past_transactions_are_known_again_and_labels_find_them(
    store: DecisionStore, sqlite_store: DecisionStore, table: pd.DataFrame
) -> None:
    given = past(table)
    store.add_events(PLAN, [each._replace(fraud=0) for each in given])
    store.forgetting("history", CARD).erase()
    assert store.add_events(PLAN, given) == 0
    assert "card-a" not in everything(store.engine)
    assert store.relabel_events({each.event_id: each.fraud for each in given}) == table["fraud"].sum()
    sqlite_store.add_events(PLAN, given)
    np.testing.assert_array_equal(features(store, table)[1:], features(sqlite_store, table)[1:])


def test_decisions_stay_as_they_were_but_for_the_key(store: DecisionStore, table: pd.DataFrame) -> None:
    singles, chunk = decided(table[:60]), decided_together(table[60:])
    store.add(singles)
    store.add_segment(chunk)
    ids = [*(each.prediction_id for each in singles), *chunk.prediction_ids]
    before = store.find_all(ids)
    count = int((table["card"] == "card-a").sum())
    assert store.forgetting("history", CARD).held().decisions == count
    assert store.forgetting("history", CARD).erase().decisions == count
    assert "card-a" not in everything(store.engine)
    after = store.find_all(ids)
    place = KeptContract.of(CONTRACT).names.index("card")
    for name in ids:
        inputs = list(before[name].record.inputs)
        inputs[place] = None if inputs[place] == "card-a" else inputs[place]
        expected = replace(before[name], record=replace(before[name].record, inputs=tuple(inputs)))
        assert repr(after[name]) == repr(expected)
    assert store.forgetting("history", CARD).erase() == Holdings()
    [*tables] = store.tables(CONTRACT)
    cards = [card for each in tables for card in each["card"].to_pylist()]
    assert cards.count(None) == count


@pytest.mark.parametrize("name", ['a "b" \\c', "ü 💳", "it's", "%", "_", "[1, null]", "null", "tab\tand\nline"])
def test_any_name_is_found_and_no_other(store: DecisionStore, table: pd.DataFrame, name: str) -> None:
    renamed = table.assign(card=table["card"].replace("card-a", name))
    singles, chunk = decided(renamed[:60]), decided_together(renamed[60:])
    store.add(singles)
    store.add_segment(chunk)
    ids = [*(each.prediction_id for each in singles), *chunk.prediction_ids]
    count = int((renamed["card"] == name).sum())
    assert store.forgetting("history", PersonalKey("card", (name,))).erase() == Holdings(past=count, decisions=count)
    cards = [store.find_all([each])[each].record.values["card"] for each in ids]
    assert cards == [None if card == name else card for card in renamed["card"]]
    assert store.forgetting("history", PersonalKey("card", (name,))).held() == Holdings()


def again(record: DecisionRecord, number: int) -> DecisionRecord:
    return replace(record, prediction_id=f"00000000-0000-7000-8000-{number:012x}")


@pytest.mark.parametrize("keys", [(CARD,), (SHOP,), (CARD, SHOP), (SHOP, CARD)])
def test_repeated_transactions_are_still_recognised(
    store: DecisionStore, table: pd.DataFrame, keys: tuple[PersonalKey, ...]
) -> None:
    singles, chunk = decided(table[:60]), decided_together(table[60:])
    named = [each for each in singles if each.transaction_id]
    store.add(singles)
    store.add_segment(chunk)
    for key in keys:
        store.forgetting("history", key).erase()
    outcomes = store.add([again(each, number) for number, each in enumerate(named, 10_000)])
    assert [(type(each), getattr(each, "repeated", None)) for each in outcomes] == [(Stored, True)] * len(named)
    stored = store.add_segment(replace(chunk, segment_id=new_segment_id()))
    assert stored.firsts == dict(enumerate(chunk.prediction_ids))
    # another amount is still another transaction
    place = KeptContract.of(CONTRACT).names.index("amount")
    changed = [
        replace(again(each, number), inputs=(*each.inputs[:place], 0.5, *each.inputs[place + 1 :]))
        for number, each in enumerate(named, 20_000)
    ]
    assert {type(each) for each in store.add(changed)} == {Conflict}
    raw = chunk.raw.copy()
    raw[:, place] = 0.5
    assert len(store.add_segment(replace(chunk, segment_id=new_segment_id(), raw=raw)).conflicts) == len(raw)


def test_no_digest_of_the_payload_tells_the_key(store: DecisionStore, table: pd.DataFrame) -> None:
    """Who tries names against what is kept finds none that fits."""

    def digests() -> set[bytes]:
        with store.engine.connect() as connection:
            return set(connection.scalars(select(transactions.c.payload_digest)))

    record = next(each for each in decided(table) if each.transaction_id and "card-a" in each.inputs)
    store.add([record])
    assert digests() == {record.payload_digest}
    store.forgetting("history", CARD).erase()
    assert digests() == {record.keyless_digest}
    nameless = replace(record, inputs=tuple(None if isinstance(each, str) else each for each in record.inputs))
    assert record.keyless_digest == nameless.keyless_digest


class Killed(Exception):
    """Stands for the end of the process."""


def test_killed_anywhere_it_goes_on_to_the_same_end(
    tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit is whole, and whoever comes after finds what is left."""
    monkeypatch.setattr(forgetting.secrets, "token_hex", lambda _bytes: "drawn")
    ends, steps = [], 0
    while True:
        with open_store(f"sqlite:///{tmp_path}/{steps}.db") as store:
            store.add(decided(table[:40]))
            store.add_segment(replace(decided_together(table[40:]), segment_id="00000000-0000-7000-9000-000000000000"))
            left = steps

            def write(work: Callable[[Connection], T], store: DecisionStore = store) -> T:
                nonlocal left
                if not left:
                    raise Killed
                left -= 1
                return store._write(work)

            erasing = store.forgetting("history", SHOP)
            try:
                replace(erasing, write=write).erase()
                killed = False
            except Killed:
                killed = True
                erasing.erase()
            ends.append(everything(store.engine))
        if not killed:
            break
        steps += 1
    assert steps > 15
    assert set(ends) == {ends[-1]}
    assert "shop-x" not in ends[-1]


def test_nothing_is_left_in_the_files_of_sqlite(tmp_path: Path, table: pd.DataFrame) -> None:
    with open_store(f"sqlite:///{tmp_path}/decisions.db") as store:
        store.add(decided(table[:60]))
        store.add_segment(decided_together(table[60:]))
        files = [*tmp_path.iterdir()]
        assert sum(path.read_bytes().count(b"card-a") for path in files) > 50
        store.forgetting("history", CARD).erase()
        compact(store.engine)
        assert [path.name for path in tmp_path.iterdir() if b"card-a" in path.read_bytes()] == []


def test_another_contracts_customers_are_other_people(store: DecisionStore, table: pd.DataFrame) -> None:
    other = parse_contract(HISTORY_OF_DAYS.replace("contract: history", "contract: other").encode(), "")
    store.add(decided(table[:40]))
    theirs = KeptContract.of(other)
    store.add(
        [
            replace(again(each, 500 + row), contract=theirs, bundle_digest="o")
            for row, each in enumerate(decided(table[:40]))
        ]
    )
    count = int((table["card"][:40] == "card-a").sum())
    assert store.forgetting("history", CARD).erase() == Holdings(past=count, decisions=count)
    assert store.forgetting("other", CARD).held() == Holdings(past=count, decisions=count)


def theirs(event: HistoryEvent) -> HistoryEvent:
    """The same of another contract."""
    name = event.event_id.replace("history", "other")
    return event._replace(event_id=name, number=event_number(name))


BORDER = datetime(2026, 1, 13, 7, 30, tzinfo=UTC)
REACH = timedelta(days=10)


def test_purge_keeps_what_the_longest_window_needs(
    store: DecisionStore, gateway: DecisionStore, table: pd.DataFrame, tmp_path: Path
) -> None:
    """A transaction from the border on has the same features before and after, to the bit."""
    assert timedelta(microseconds=PLAN.reach) == REACH
    store.add_events(PLAN, past(table))
    edges = [BORDER + timedelta(microseconds=each) for each in (0, 1, 3_600_000_000, 40_000_000_000)]

    def asked() -> np.ndarray[Any, Any]:
        given = {"amount": 1.0, "points": 2.0, "distance": 3.0}
        found = [
            PLAN.event("history\x1fnext", microseconds(at), {**given, "card": card, "shop": shop})
            for at in (*edges, table["at"].max().to_pydatetime())
            for card in ("card-a", "card-b", "card-c")
            for shop in ("shop-x", "shop-y")
        ]
        return np.array(
            [
                each.histories_of(PLAN, [(event, []) for event in found])
                for each in (gateway, DecisionStore(store.engine))
            ]
        )

    before = asked()
    old = int((table["at"] <= BORDER - REACH).sum())
    assert old > 10
    exported = store.purge(CONTRACT, BORDER, tmp_path)
    assert exported.past == old
    np.testing.assert_array_equal(asked(), before)
    with store.engine.connect() as connection:
        for each in (events, key_events):
            assert (connection.scalar(select(func.min(each.c.at))) or 0) > microseconds(BORDER - REACH)
        assert connection.scalar(select(func.count()).select_from(events)) == ROWS - old
    assert store.purge(CONTRACT, BORDER, tmp_path).past == 0
    assert store.purge(CONTRACT, BORDER + timedelta(days=400), tmp_path).past == ROWS - old
    with store.engine.connect() as connection:
        for each in (events, key_events):
            assert connection.scalar(select(func.count()).select_from(each)) == 0


def test_purge_minds_every_version_that_is_kept(store: DecisionStore, table: pd.DataFrame, tmp_path: Path) -> None:
    """An earlier version may look further back, and may come back."""
    longer = parse_contract(HISTORY_OF_DAYS.replace("window: 10d", "window: 300d").encode(), "")
    store.add_events(PLAN, past(table))
    with store.engine.begin() as connection:
        kept_contract = KeptContract.of(longer)
        connection.execute(
            contracts.insert(),
            {
                "digest": kept_contract.digest,
                "name": "history",
                "version": 2,
                "scope": "",
                "fields": kept_contract.fields,
                "content": kept_contract.content,
            },
        )
    assert store.purge(CONTRACT, BORDER, tmp_path).past == 0
    assert store.purge(CONTRACT, BORDER + timedelta(days=300), tmp_path).past > 0


def test_purge_leaves_other_contracts_alone(store: DecisionStore, table: pd.DataFrame, tmp_path: Path) -> None:
    other = parse_contract(HISTORY_OF_DAYS.replace("contract: history", "contract: other").encode(), "")
    plan = EventPlan.of(other)
    store.add_events(PLAN, past(table))
    given = [theirs(each) for each in past(table)]
    store.add_events(plan, given)
    late = BORDER + timedelta(days=400)
    assert store.purge(CONTRACT, late, tmp_path).past == ROWS
    assert store.add_events(plan, given) == 0
    assert (
        store.purge(
            parse_contract(HISTORY_OF_DAYS.replace("contract: history", "contract: none").encode(), ""), late, tmp_path
        ).past
        == 0
    )
    assert store.purge(other, late, tmp_path).past == ROWS


def test_labels_go_with_what_they_were_of(store: DecisionStore, table: pd.DataFrame, tmp_path: Path) -> None:
    given = past(table)
    store.add_events(PLAN, [each._replace(fraud=0) for each in given])
    store.relabel_events({each.event_id: 1 for each in given})
    store.forgetting("history", CARD).erase()
    old = store.purge(CONTRACT, BORDER, tmp_path).past
    with store.engine.connect() as connection:
        rows = connection.execute(select(event_changes.c.seq, event_changes.c.fraud)).all()
        left = set(connection.scalars(select(events.c.seq)))
    assert {row.seq for row in rows if row.fraud is not None} == left
    assert len(left) == ROWS - old
    assert any(row.fraud is None for row in rows)


def test_a_newer_version_does_not_bring_it_back(store: DecisionStore, table: pd.DataFrame) -> None:
    """Its series are made of the base data, where the key still stands; those of others are complete."""
    grown = parse_contract(
        f"{HISTORY_OF_DAYS}"
        "  card_points: {distinct: {of: points, by: card, window: 9d}}\n"
        "  shop_cards: {distinct: {of: card, by: shop, window: 9d}}\n".encode(),
        "",
    )
    plan = EventPlan.of(grown)
    store.add_events(PLAN, past(table))
    store.forgetting("history", CARD).erase()
    given = past(table, plan)
    assert store.complete_events(plan, given) > 0
    assert "card-a" not in everything(store.engine)
    assert store.complete_events(plan, given) == 0
    others = (table["card"] != "card-a").to_numpy()
    with store.engine.connect() as connection:
        series = {
            (row.entity, row.field): row.series_id for row in connection.execute(select(event_series)) if row.words
        }
        counted = select(func.count()).select_from(key_events).where(key_events.c.series_id == series["card", "points"])
        cards = select(key_events.c.word).where(key_events.c.series_id == series["shop", "card"])
        assert connection.scalar(counted) == others.sum()
        assert sorted(filter(None, connection.scalars(cards))) == sorted(table["card"][others & table["shop"].notna()])
