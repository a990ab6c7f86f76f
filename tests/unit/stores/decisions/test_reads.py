import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event

from ml_project.errors import InvalidInput
from stores.decisions import DecisionRecord, DecisionStore, Found, LabelItem, PageFilter
from stores.decisions.schema import labels, predictions

START = datetime(2026, 1, 1, tzinfo=UTC)
SCORES = [0.0, 0.25, 0.5, 0.75, 1.0]

_times = st.integers(0, 5).map(lambda seconds: START + timedelta(seconds=seconds))
_rows = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {
                "received_at": _times,
                "hybrid_score": st.sampled_from(SCORES),
                "decision": st.sampled_from(["APPROVE", "REVIEW", "DECLINE"]),
                "model_version": st.sampled_from(["1", "2"]),
                "review_rate": st.none() | st.just(0.5),
            }
        ),
        st.booleans(),
    ),
    max_size=25,
)
_filters = st.builds(
    PageFilter,
    order=st.sampled_from(["newest", "riskiest"]),
    decision=st.none() | st.sampled_from(["APPROVE", "REVIEW"]),
    since=st.none() | _times,
    until=st.none() | _times,
    score_from=st.none() | st.sampled_from(SCORES),
    score_below=st.none() | st.sampled_from(SCORES),
    labelled=st.none() | st.booleans(),
    for_review=st.none() | st.booleans(),
    model_version=st.none() | st.just("2"),
)


def expected(rows: list[tuple[DecisionRecord, bool]], wanted: PageFilter) -> list[str]:
    kept = [
        record
        for record, labelled in rows
        if (wanted.decision is None or record.decision == wanted.decision)
        and (wanted.since is None or record.received_at >= wanted.since)
        and (wanted.until is None or record.received_at < wanted.until)
        and (wanted.score_from is None or record.hybrid_score >= wanted.score_from)
        and (wanted.score_below is None or record.hybrid_score < wanted.score_below)
        and (wanted.labelled is None or labelled == wanted.labelled)
        and (wanted.for_review is None or (record.review_rate is not None) == wanted.for_review)
        and (wanted.model_version is None or record.model_version == wanted.model_version)
    ]
    key: Callable[[DecisionRecord], Any] = (
        (lambda record: (record.received_at, record.prediction_id))
        if wanted.order == "newest"
        else (lambda record: (record.hybrid_score, record.prediction_id))
    )
    return [record.prediction_id for record in sorted(kept, key=key, reverse=True)]


def _cursor(content: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def all_pages(store: DecisionStore, wanted: PageFilter, limit: int) -> list[list[Found]]:
    shown, after = [], None
    while True:
        page = store.page(wanted, after, limit)
        shown.append(page.items)
        after = page.after
        if after is None:
            return shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_rows, wanted=_filters, limit=st.integers(1, 7))
def test_pages_are_the_sorted_list_in_parts(
    store: DecisionStore,
    make_record: Callable[..., DecisionRecord],
    rows: list[tuple[dict[str, Any], bool]],
    wanted: PageFilter,
    limit: int,
) -> None:
    with store.engine.begin() as connection:
        connection.execute(delete(predictions))
        connection.execute(delete(labels))
    kept = [(make_record(**fields), labelled) for fields, labelled in rows]
    store.add([record for record, _labelled in kept])
    store.label([LabelItem(label=1, prediction_id=record.prediction_id) for record, said in kept if said], "ann")
    pages = all_pages(store, wanted, limit)
    assert [found.record.prediction_id for page in pages for found in page] == expected(kept, wanted)
    assert all(len(page) == limit for page in pages[:-1])
    labelled = {record.prediction_id for record, said in kept if said}
    assert all(
        (found.label is not None) == (found.record.prediction_id in labelled) for page in pages for found in page
    )


def test_rows_that_arrive_meanwhile_shift_nothing(
    store: DecisionStore, make_record: Callable[..., DecisionRecord]
) -> None:
    old = [make_record() for _ in range(4)]
    store.add(old)
    first = store.page(PageFilter(), limit=2)
    store.add([make_record()])
    second = store.page(PageFilter(), first.after, limit=2)
    assert [found.record for found in first.items + second.items] == old[::-1]


def plan(store: DecisionStore, wanted: PageFilter) -> str:
    """How the database finds a page."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        statements.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    store.page(wanted)
    event.remove(store.engine, "before_cursor_execute", note)
    asked, parameters = next(each for each in statements if "FROM predictions" in each[0])
    with store.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the table is small here
            return str(connection.exec_driver_sql(f"EXPLAIN {asked}", parameters).fetchall())
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", parameters).fetchall())


@pytest.mark.parametrize("order", ["newest", "riskiest"])
def test_the_few_labelled_are_found_among_the_many(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], order: Any
) -> None:
    """Whatever else is asked of them."""
    records = [make_record() for _ in range(300)]
    store.add(records)
    store.label([LabelItem(label=1, prediction_id=records[0].prediction_id)], "ann")
    if store.engine.dialect.name == "postgresql":
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE predictions")
    wanted = PageFilter(order=order, labelled=True, decision="APPROVE", score_from=0.0)
    assert "predictions_labelled_" in plan(store, wanted)
    assert [found.record for found in store.page(wanted).items] == records[:1]


def test_alerts_are_found_among_the_many(store: DecisionStore, make_record: Callable[..., DecisionRecord]) -> None:
    records = [make_record(decision="DECLINE" if row == 7 else "APPROVE") for row in range(300)]
    store.add(records)
    if store.engine.dialect.name == "postgresql":
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE predictions")
    wanted = PageFilter(decision="DECLINE")
    assert "predictions_alerts" in plan(store, wanted)
    assert [found.record for found in store.page(wanted).items] == [records[7]]


@pytest.mark.parametrize(
    "after",
    ["", "x", "W10", "bm90IGpzb24", "WyJyaXNraWVzdCIsIDAuNSwgImEiXQ", _cursor(["newest", f"{START}", "\ud800"])],
)
def test_cursors_that_no_page_gave(sqlite_store: DecisionStore, after: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        sqlite_store.page(PageFilter(), after)


@pytest.mark.parametrize("limit", [0, 1001])
def test_limits(sqlite_store: DecisionStore, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        sqlite_store.page(PageFilter(), limit=limit)
