import io
import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ml_project.cleaning import clean
from ml_project.errors import InvalidInput
from ml_project.simulator import simulate
from pipelines.data.ingest import IngestedMeta, content_digest
from pipelines.data.sources import read_source
from pipelines.data.validation import SUITE_FILE, load_suite, validate
from pipelines.data.validation_report import Reference, summarise
from tests.support.creditcard import CREDITCARD, RAW_FEATURES


@pytest.fixture
def check(tmp_path):
    """Clean a table as ingest does, spoil it if asked, and validate it."""

    def run(frame, spoil=lambda table: table, **kwargs):
        table, report = clean(frame, CREDITCARD)
        meta = IngestedMeta("file", "book.csv", content_digest(table), report, CREDITCARD.digest)
        return validate(spoil(table), CREDITCARD, meta, tmp_path / "docs", **kwargs)

    return run


@pytest.fixture(scope="module")
def small():
    """Two simulated days in few rows, with enough frauds."""
    (chunk,) = simulate(5_000, seed=2, fraud_rate=0.01)
    return pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(Class=chunk.label)


def failures(report):
    return {(each.expectation.removeprefix("expect_"), each.column): each.observed for each in report.failures}


def test_real_sample_passes(check, real_sample, tmp_path, capfd):
    report = check(real_sample)
    assert report.success, report.failures
    assert len(report.checks) == 159
    assert report.figures["fraud_rate"] == pytest.approx(0.00174, abs=5e-5)
    assert report.docs == tmp_path / "docs" / "index.html"
    page = report.docs.read_text()
    assert "✓ passed" in page
    assert page.count("<details>") == 13
    assert capfd.readouterr() == ("", "")
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_figures_count_by_weight(check, real_sample):
    report = check(real_sample, lambda table: table.assign(Weight=1.0))
    assert failures(report) == {("column_mean_to_be_between", "fraud_rate"): "0.0243174"}


def test_head_of_the_original_file_passes(check, real_head_path):
    report = check(pd.read_csv(real_head_path))
    assert report.success, report.failures
    # Three hours of one night differ from two days, yet by less than the limit of one standard deviation.
    assert report.figures["mean_shift_V12"] == pytest.approx(-0.933, abs=1e-3)
    assert report.figures["fraud_rate"] == pytest.approx(25 / 7_933)


def test_simulated_data_pass(check, tmp_path):
    raw = read_source("simulated", CREDITCARD, cache=tmp_path, simulated_rows=100_000, on_notice=[].append)
    report = check(raw.frame)
    assert report.success, report.failures
    assert len(report.figures) == 63


def spoiled(table):
    """Breaks every rule for values once, in rows and columns of their own."""
    table = table.astype({"Class": "int64"})
    for row, column, value in (
        (1, "Time", -1.0),
        (2, "Amount", -0.5),
        (3, "Amount", 100_001.0),
        (4, "V2", -251.0),
        (5, "V3", 251.0),
        (6, "V5", np.nan),
        (7, "Class", 3),
        (8, "Weight", 0.0),
    ):
        table.loc[row, column] = value
    table = table.assign(V4=table["V4"] + 1.7, V6=table["V6"] * 5, V7=table["V7"] / 5)
    return pd.concat([table, table.iloc[[20]]], ignore_index=True)


def test_each_rule_fails_where_it_should(check, small):
    report = check(small, spoiled)
    assert failures(report) == {
        ("compound_columns_to_be_unique", ""): "2 rows",
        ("column_values_to_not_be_null", "V5"): "1 row: [nan]",
        ("column_min_to_be_between", "Time"): "-1",
        ("column_min_to_be_between", "Amount"): "-0.5",
        ("column_max_to_be_between", "Amount"): "100001",
        ("column_min_to_be_between", "V2"): "-251",
        ("column_max_to_be_between", "V3"): "251",
        ("column_values_to_be_in_set", "Class"): "1 row: [3]",
        ("column_min_to_be_between", "Weight"): "0",
        ("column_mean_to_be_between", "mean_shift_V4"): f"{report.figures['mean_shift_V4']:.6g}",
        ("column_mean_to_be_between", "mean_shift_V5"): "no value",
        ("column_mean_to_be_between", "spread_V5"): "no value",
        ("column_mean_to_be_between", "spread_V6"): f"{report.figures['spread_V6']:.6g}",
        ("column_mean_to_be_between", "spread_V7"): f"{report.figures['spread_V7']:.6g}",
        ("column_mean_to_be_between", "spread_Amount"): f"{report.figures['spread_Amount']:.6g}",
    }
    assert 1 < report.figures["mean_shift_V4"] < 1.4
    assert 4 < report.figures["spread_V6"] < 6
    console = Console(file=io.StringIO(), width=120)
    console.print(report.to_table())
    shown = " ".join(console.file.getvalue().split())
    assert "Validation failed" in shown
    assert "Amount smallest value -0.5 ≥ 0" in shown
    # the page has all of it without the internet: no script, no style, no picture from elsewhere
    page = report.docs.read_text()
    assert not re.search(r'(src|href)="|<script|url\(|@import', page)
    assert "prefers-color-scheme: dark" in page
    assert page.index("<h2>What failed") < page.index("<h2>Every expectation")
    assert page.count("<details open>") == len({each.words for each in report.failures})
    rows = re.findall(r"<tr><th>(.*?)</th>.*?✗ failed", page.partition("<h2>Every")[0], re.DOTALL)
    assert len(rows) == len(report.failures)


def test_rules_for_the_whole_table(check, small):
    def spoil(table):
        return table.loc[table["Class"] == 0, [*table.columns[1:], "Time"]].head(999)

    assert failures(check(small, spoil)) == {
        ("table_columns_to_match_ordered_list", ""): "another order",
        ("table_row_count_to_be_between", ""): "999",
        ("column_mean_to_be_between", "frauds"): "0",
        ("column_mean_to_be_between", "fraud_rate"): "0",
    }


def test_missing_column_and_text_are_failures_not_crashes(check, small):
    report = check(small, lambda table: table.drop(columns="V3").assign(V4="x"))
    found = failures(report)
    assert found["table_columns_to_match_ordered_list", ""] == "missing V3"
    assert found["column_min_to_be_between", "V3"] == 'The column "V3" in BatchData does not exist.'
    assert "not supported" in found["column_max_to_be_between", "V4"]
    assert ("column_mean_to_be_between", "mean_shift_V4") in found


def test_event_time_is_part_of_the_schema_where_it_is_there(check, small):
    times = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(small["Time"], unit="s")
    report = check(small.assign(event_time=times))
    assert report.success, report.failures
    assert ("expect_column_values_to_not_be_null", "event_time") in {(e.expectation, e.column) for e in report.checks}


def test_limits_are_data(check, small, tmp_path):
    suite = json.loads(SUITE_FILE.read_text())
    suite["weighted"] = [
        {"type": "expect_column_mean_to_be_between", "columns": ["fraud_rate"], "kwargs": {"max_value": 0.0001}}
    ]
    (tmp_path / "strict.json").write_text(json.dumps(suite))
    report = check(small, suite=tmp_path / "strict.json")
    (failure,) = report.failures
    assert (failure.suite, failure.column, failure.limit) == ("weighted", "fraud_rate", "≤ 0.0001")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"transactions": [{}], "weighted": []}'])
def test_what_is_no_suite(tmp_path, content):
    (tmp_path / "suite.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"suite\.json: not a validation suite"):
        load_suite(CREDITCARD, tmp_path / "suite.json")


def test_reference_is_that_of_the_real_sample(real_sample):
    figures = summarise(real_sample, CREDITCARD, Reference.of(CREDITCARD))
    shifts = [value for name, value in figures.items() if name.startswith("mean_shift_")]
    spreads = [value for name, value in figures.items() if name.startswith("spread_")]
    assert len(shifts) == len(spreads) == len(Reference.of(CREDITCARD).mean)
    # the file has six digits
    assert shifts == pytest.approx([0.0] * len(shifts), abs=2e-6)
    assert spreads == pytest.approx([1.0] * len(spreads), abs=2e-6)


def test_figures_by_hand():
    reference = Reference(
        mean=dict.fromkeys(Reference.of(CREDITCARD).mean, 0.0), std=dict.fromkeys(Reference.of(CREDITCARD).std, 2.0)
    )
    table = pd.DataFrame({"V1": [0.0, 4.0], "Class": [1, 0], "Weight": [1.0, 3.0]})
    assert summarise(table, CREDITCARD, reference) == {
        "rows": 2,
        "frauds": 1,
        "fraud_rate": 0.25,
        "mean_shift_V1": 1.5,
        "spread_V1": pytest.approx(np.sqrt(3) / 2),
    }


def test_times_in_another_unit_fail(check, small):
    failed = failures(check(small.assign(Time=small["Time"] * 1000)))
    assert {column for _, column in failed} == {"days", "rows_per_day"}


def test_one_row_centuries_ahead_fails_and_one_long_before_does_no_harm(check, small):
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(small["Time"], unit="s")
    ahead, before = times.copy(), times.copy()
    ahead.iloc[2_000], before.iloc[2_000] = pd.Timestamp("2261-01-01", tz="UTC"), pd.Timestamp("2004-01-01", tz="UTC")
    assert {column for _, column in failures(check(small.assign(event_time=ahead)))} == {"days", "rows_per_day"}
    assert check(small.assign(event_time=before)).success
