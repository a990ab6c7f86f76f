from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_project.cleaning import clean
from ml_project.errors import InvalidInput
from ml_project.event_times import EventTimeBounds
from tests.support.creditcard import CREDITCARD, ENGINEERED_FEATURES, RAW_FEATURES


def frame(rows=6):
    values = np.random.default_rng(0).normal(size=(rows, 30))
    table = pd.DataFrame(values, columns=list(RAW_FEATURES))
    table["Time"] = np.arange(rows, dtype=float)
    table["Amount"] = np.arange(rows) + 0.5
    table["Class"] = np.arange(rows) % 2
    return table


def refused(table, missing="reject", **kwargs):
    with pytest.raises(InvalidInput) as caught:
        clean(table, CREDITCARD, missing, name="book.csv", **kwargs)
    assert caught.value.remedy
    return caught.value.cause


def test_head_of_the_original_file(real_head_path):
    table, report = clean(pd.read_csv(real_head_path), CREDITCARD)
    assert (report.rows_in, report.rows_out, report.duplicates_dropped, report.frauds) == (7_972, 7_933, 39, 25)
    assert report.missing_imputed == {}
    assert list(table.columns) == list(CREDITCARD.clean_columns)
    assert (table["Weight"] == 1.0).all()


def test_sample_passes_unchanged(real_sample):
    table, report = clean(real_sample, CREDITCARD)
    assert report.rows_out == 16_408
    assert report.frauds == 399
    pd.testing.assert_frame_equal(table, real_sample[list(CREDITCARD.clean_columns)].astype({"Class": np.int8}))


def test_columns_come_in_canonical_order_and_types():
    shuffled = frame().sample(frac=1, axis="columns", random_state=1).astype(object)
    table, _ = clean(shuffled, CREDITCARD)
    assert list(table.columns) == list(CREDITCARD.clean_columns)
    assert table["Class"].dtype == np.int8
    assert (table.drop(columns="Class").dtypes == np.float64).all()


def test_numbers_in_text_are_read_exactly():
    text = frame().astype(str)
    table, _ = clean(text, CREDITCARD)
    np.testing.assert_array_equal(table[list(RAW_FEATURES)], frame()[list(RAW_FEATURES)])


def test_engineered_columns_are_dropped_and_counted():
    table, report = clean(frame().assign(**dict.fromkeys(ENGINEERED_FEATURES, "anything")), CREDITCARD)
    assert report.engineered_dropped == 7
    assert list(table.columns) == list(CREDITCARD.clean_columns)


def test_duplicates_ignore_the_weight_and_the_first_stays():
    table = frame(4).assign(Weight=[1.0, 2.0, 3.0, 4.0])
    again = table.iloc[[1]].assign(Weight=9.0)
    cleaned, report = clean(pd.concat([table, again]), CREDITCARD)
    assert report.duplicates_dropped == 1
    assert cleaned["Weight"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_are_sorted_by_time_keeping_the_order_of_ties():
    table = frame(4)
    table["Time"] = [5.0, 1.0, 5.0, 0.0]
    assert clean(table, CREDITCARD)[0]["Amount"].tolist() == [3.5, 1.5, 0.5, 2.5]


def test_event_time_orders_rows_and_becomes_utc():
    times = ["2024-01-02T00:00:00", "2024-01-01T23:00:00-02:00", "2024-01-01T12:00:00Z"]
    cleaned, _ = clean(frame(3).assign(event_time=times), CREDITCARD)
    assert cleaned["Amount"].tolist() == [2.5, 0.5, 1.5]
    assert cleaned["event_time"].tolist() == [
        pd.Timestamp("2024-01-01T12:00Z"),
        pd.Timestamp("2024-01-02T00:00Z"),
        pd.Timestamp("2024-01-02T01:00Z"),
    ]
    assert list(cleaned.columns) == [*CREDITCARD.clean_columns, "event_time"]


def test_missing_values_are_imputed_with_the_median_where_configured():
    table = frame(5)
    table.loc[[1, 4], "Amount"] = np.nan
    cleaned, report = clean(table, CREDITCARD, "impute")
    assert cleaned["Amount"].tolist() == [0.5, 2.5, 2.5, 3.5, 2.5]
    assert report.missing_imputed == {"Amount": 2}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("V3", "abc", "'abc' is not a number"),
        ("V3", "1.5\x002", "the value has a NUL character"),
        ("V3", np.nan, "the value is missing"),
        ("V3", "", "'' is not a number"),
        ("V3", np.inf, "the value is infinite"),
        ("V3", "-inf", "the value is infinite"),
        ("Amount", -0.01, "the amount is negative"),
        ("Class", 2, "the label is neither 0 nor 1"),
        ("Class", 0.5, "the label is neither 0 nor 1"),
        ("Class", None, "the value is missing"),
        ("Weight", 0.0, "the weight is not positive"),
        ("Weight", np.nan, "the value is missing"),
        ("event_time", "yesterday", "the time is missing, not ISO 8601 or centuries away"),
        ("event_time", None, "the time is missing, not ISO 8601 or centuries away"),
    ],
)
def test_bad_values_are_refused_with_column_and_row(column, value, message):
    table = frame().assign(Weight=1.0, event_time="2024-01-01T00:00:00Z").astype(object)
    table.loc[3, column] = value
    assert refused(table) == f"book.csv: column {column}, row 4: {message}."
    table.loc[5, column] = value
    assert (
        refused(table, place_of=lambda row: f"line {row + 1}")
        == f"book.csv: column {column}, row 4 (line 5): {message}, as in 1 more row."
    )


@pytest.mark.parametrize("column", ["Class", "Weight"])
def test_what_is_no_field_is_never_imputed(column):
    table = frame().assign(Weight=1.0)
    table.loc[2, column] = np.nan
    assert refused(table, "impute") == f"book.csv: column {column}, row 3: the value is missing."


def test_a_column_without_any_value_cannot_be_imputed():
    assert "column V7, row 1: the value is missing" in refused(frame().assign(V7=np.nan), "impute")


def test_infinite_values_are_not_imputed():
    assert "the value is infinite" in refused(frame().assign(V7=np.inf), "impute")


def test_columns_must_be_the_known_ones():
    assert refused(frame().assign(Merchant=1)) == "book.csv: unknown column 'Merchant'."
    assert refused(frame().drop(columns=["V3", "Class"])) == "book.csv: missing column V3, Class."
    twice = pd.concat([frame(), frame()[["V1"]]], axis="columns")
    assert refused(twice) == "book.csv: column V1 appears twice."
    assert refused(frame().iloc[:0]) == "book.csv: the table has no rows."
    dates = frame().assign(V1=np.datetime64("2024-01-01", "ns"))
    assert refused(dates) == "book.csv: column V1 holds datetime64[ns]."
    assert refused(frame().assign(event_time=1_700_000_000)) == "book.csv: column event_time holds numbers."


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
@settings(max_examples=30, deadline=None)
def test_order_and_repetition_of_rows_do_not_matter(order, repeated):
    table = frame()
    cleaned, report = clean(table.iloc[[*order, *repeated]], CREDITCARD)
    assert report.duplicates_dropped == len(repeated)
    pd.testing.assert_frame_equal(cleaned, clean(table, CREDITCARD)[0])


BOUNDS = EventTimeBounds(datetime(2000, 1, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))


@pytest.mark.parametrize("when", ["1970-01-01", "2026-07-03", "2261-01-01", "9999-12-31"])
def test_times_that_cannot_be_right_are_refused_by_their_row(when):
    times = np.array(["2026-07-01T00:00:00"] * 5 + [when], "datetime64[us]")
    said = refused(frame().assign(event_time=times), bounds=BOUNDS)
    assert said.startswith(f"book.csv: column event_time, row 6: the time {when} 00:00:00 does not lie between 2000-")
    assert clean(frame().assign(event_time=times[0]), CREDITCARD, bounds=BOUNDS)[1].rows_out == 6


@pytest.mark.parametrize(
    ("name", "advice"),
    [("v7", "Write it V7."), ("", "It may be the row index of pandas"), ("merchant", "Remove it.")],
)
def test_unknown_columns_are_told_what_they_are(name, advice):
    with pytest.raises(InvalidInput) as caught:
        clean(frame().assign(**{name: 1}), CREDITCARD)
    assert advice in caught.value.remedy
