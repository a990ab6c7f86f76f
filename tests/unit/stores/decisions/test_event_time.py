from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import insert

from stores.decisions import (
    Chunk,
    DecisionRecord,
    DecisionStore,
    LabelItem,
    PageFilter,
    migrate,
    migrations,
    open_engine,
    tables,
)
from stores.decisions.rows import to_row
from stores.decisions.schema import predictions

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ids(store: DecisionStore, since: datetime, until: datetime) -> list[str]:
    return [name for table in store.tables_by_event_time(since, until) for name in table["prediction_id"].to_pylist()]


def test_a_window_is_of_what_happened_in_it(
    store: DecisionStore,
    make_record: Callable[..., DecisionRecord],
    make_chunk: Callable[..., Chunk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "ROWS", 3)
    late = DAY + 100 * HOUR
    happened = [make_record(received_at=late, event_time=DAY + hour * HOUR) for hour in range(-5, 30)]
    received = [make_record(received_at=DAY + hour * HOUR) for hour in range(-5, 30)]
    store.add([*happened, *received])
    times = [None if row % 4 == 0 else DAY + (row - 10) * HOUR for row in range(50)]
    mixed = make_chunk(rows=50, received_at=DAY + 2 * HOUR, event_times=times)
    plain, elsewhere = make_chunk(rows=20, received_at=DAY + HOUR), make_chunk(rows=20, received_at=late)
    for chunk in (mixed, plain, elsewhere):
        store.add_segment(chunk)
    store.label([LabelItem(prediction_id=mixed.prediction_ids[11], label=1)], "anna")

    inside = [row for row in range(50) if row % 4 == 0 or 10 <= row < 34]
    expected = {
        *(record.prediction_id for record in (*happened[5:29], *received[5:29])),
        *(mixed.prediction_ids[row] for row in inside),
        *plain.prediction_ids,
    }
    found = ids(store, DAY, DAY + 24 * HOUR)
    assert len(found) == len(set(found)) == len(expected)
    assert set(found) == expected
    labelled = {
        row["prediction_id"]: row["label"]
        for table in store.tables_by_event_time(DAY, DAY + 24 * HOUR)
        for row in table.select(["prediction_id", "label"]).to_pylist()
        if row["label"] is not None
    }
    assert labelled == {mixed.prediction_ids[11]: 1}
    assert ids(store, DAY + 500 * HOUR, DAY + 600 * HOUR) == []


def test_a_database_from_before_is_brought_up_to_date_with_what_it_holds(
    database_url: str, make_record: Callable[..., DecisionRecord]
) -> None:
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        alert = make_record(received_at=DAY, decision="REVIEW", review_rate=1.0)
        approval = make_record(received_at=DAY + HOUR / 2)
        old = [{name: value for name, value in to_row(r).items() if name != "review_rate"} for r in (alert, approval)]
        connection.execute(insert(predictions), old)
    migrate(engine)
    store = DecisionStore(engine)
    assert ids(store, DAY, DAY + HOUR) == [alert.prediction_id, approval.prediction_id]
    assert [found.record for found in store.page(PageFilter(for_review=True)).items] == [alert]
    engine.dispose()
