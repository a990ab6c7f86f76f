"""Spark cleans by the rules that pandas cleans by."""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from ml_project.contract_file import parse_contract
from ml_project.errors import InvalidInput
from ml_project.simulator import simulate
from pipelines.data import on_spark as on_spark_module
from pipelines.data.ingest import IngestedFile, ingest, read_ingested, read_meta
from pipelines.data.on_spark import ingest_on_spark
from pipelines.settings import PipelineSettings
from tests.support.creditcard import CREDITCARD, EVENT_TIME, LABEL, RAW_FEATURES, WEIGHT
from tests.support.machine import ROOT
from tests.support.parquet import with_large_page
from tests.support.shop import COUNTRIES, DATED_VISITS_YAML, VISITS_YAML, dated_visits, visits

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def frame() -> pd.DataFrame:
    """3,000 transactions, 40 of them there twice, with weights and times."""
    (chunk,) = simulate(3_000, seed=4, fraud_rate=0.01)
    frame = pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(**{LABEL: chunk.label})
    frame[WEIGHT] = 1.0 + np.arange(3_000) % 3
    frame[EVENT_TIME] = pd.to_datetime(1_700_000_000 + chunk.raw[:, 0], unit="s", utc=True)
    return pd.concat([frame, frame.head(40)], ignore_index=True)


NARROW_YAML: Final = re.sub(
    r"example: \[[^]]*\]",
    "example: [-1.36, -0.07, 2.54]",
    (ROOT / "contracts" / "creditcard.yaml").read_text().replace("V1..V28", "V1..V3"),
)
"""The public table with three components: Spark plans a table of thirty columns ten times as long."""
NARROW: Final = parse_contract(NARROW_YAML.encode(), "narrow.yaml")


@pytest.fixture
def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without the components that NARROW has not."""
    return frame.drop(columns=[f"V{number}" for number in range(4, 29)])


def on_spark(folder: Path, data: str, **settings: Any) -> IngestedFile:
    own = PipelineSettings(state_dir=folder, data=data, **settings)
    return ingest_on_spark(own, own.dataset_path, print)


def narrow_on_spark(folder: Path, data: str, **settings: Any) -> IngestedFile:
    (folder / "narrow.yaml").write_text(NARROW_YAML)
    return on_spark(folder, data, contract=str(folder / "narrow.yaml"), **settings)


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder"])
def test_rows_are_those_of_pandas(spark: Any, frame: pd.DataFrame, tmp_path: Path, kind: str) -> None:
    data = tmp_path / {"csv": "bank.csv.gz", "parquet": "bank.parquet", "folder": "bank"}[kind]
    if kind == "csv":
        frame.to_csv(data, index=False)
    elif kind == "parquet":
        frame.to_parquet(data)
    else:
        data.mkdir()
        frame.head(2_000).to_parquet(data / "0.parquet")
        frame.tail(1_040).to_parquet(data / "1.parquet")
    done = on_spark(tmp_path, str(data))
    expected = ingest(str(data), tmp_path / "here.parquet", CREDITCARD, cache=tmp_path, on_notice=print)
    assert done.meta.cleaning == expected.meta.cleaning
    assert (done.meta.source, done.meta.name) == ("file", str(data))
    assert read_meta(done.path, CREDITCARD) == done.meta
    mine, its = read_ingested(expected.path, CREDITCARD)[0], pd.read_parquet(done.path)
    assert list(its.columns) == list(mine.columns)
    ordered = [each.sort_values([EVENT_TIME, "V1"], ignore_index=True) for each in (its, mine)]
    pd.testing.assert_frame_equal(ordered[0].astype({EVENT_TIME: "datetime64[ns, UTC]"}), ordered[1])


def test_the_digest_is_of_the_rows_not_of_their_order(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    digests = []
    for number, rows in enumerate((narrow, narrow.sample(frac=1.0, random_state=1), narrow.tail(2_900))):
        rows.to_parquet(tmp_path / f"{number}.parquet", row_group_size=500 * (number + 1))
        digests.append(narrow_on_spark(tmp_path, str(tmp_path / f"{number}.parquet")).meta.digest)
    assert digests[0] == digests[1] != digests[2]


def test_gaps_are_refused_or_filled(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    narrow.loc[[3, 8], "V3"] = np.nan
    narrow.to_csv(tmp_path / "gaps.csv", index=False)
    with pytest.raises(InvalidInput, match="column V3 is missing in 2 rows"):
        narrow_on_spark(tmp_path, str(tmp_path / "gaps.csv"))
    done = narrow_on_spark(tmp_path, str(tmp_path / "gaps.csv"), missing="impute")
    assert done.meta.cleaning.missing_imputed == {"V3": 2}
    middle = narrow["V3"].median()
    assert (pd.read_parquet(done.path)["V3"] - middle).abs().nsmallest(2).max() < 0.01


FAULTS = [
    ("V3", "much", r"column V3 is not a number in 1 rows \('much'\)"),
    ("V3", "inf", "column V3 is infinite in 1 rows"),
    ("Amount", "-1", r"column Amount is negative in 1 rows \('-1'\)"),
    (LABEL, "2", "column Class is neither 0 nor 1 in 1 rows"),
    (LABEL, "", "column Class is missing in 1 rows"),
    (WEIGHT, "0", "column Weight is not positive in 1 rows"),
    (EVENT_TIME, "yesterday", "column event_time is missing or not ISO 8601 in 1 rows"),
    (
        EVENT_TIME,
        "9999-12-31T00:00:00Z",
        "column event_time does not lie between 2000-01-01T00:00:00Z and .* in 1 rows",
    ),
]


def test_what_cannot_be_used_is_named_and_changes_nothing(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    before = narrow_on_spark(tmp_path, _csv(narrow, tmp_path / "good.csv"))
    for column, value, said in FAULTS:
        spoilt = narrow.astype({column: object})
        spoilt.loc[17, column] = value
        with pytest.raises(InvalidInput, match=said):
            narrow_on_spark(tmp_path, _csv(spoilt, tmp_path / "bad.csv"))
    assert read_meta(before.path, NARROW) == before.meta
    assert [each.name for each in before.path.parent.iterdir()] == [before.path.name]


def _csv(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def test_what_is_no_table_is_refused(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no Parquet or CSV file there"):
        narrow_on_spark(tmp_path, str(tmp_path / "none.parquet"))
    (tmp_path / "bank.zip").touch()
    with pytest.raises(InvalidInput, match=r"Spark reads no \.zip"):
        narrow_on_spark(tmp_path, str(tmp_path / "bank.zip"))
    with pytest.raises(InvalidInput, match="unknown column 'colour'"):
        narrow_on_spark(tmp_path, _csv(narrow.assign(colour=1), tmp_path / "odd.csv"))
    with pytest.raises(InvalidInput, match="no rows"):
        narrow_on_spark(tmp_path, _csv(narrow.head(0), tmp_path / "empty.csv"))


def test_each_engine_takes_the_place_of_the_other(spark: Any, tmp_path: Path) -> None:
    done = on_spark(tmp_path, "simulated", simulated_rows=5_000, seed=3)
    assert (done.meta.source, done.meta.cleaning.rows_in) == ("simulated", 5_000)
    with pytest.raises(InvalidInput, match="ingested by Spark"):
        read_ingested(done.path, CREDITCARD)
    ingest("simulated", done.path, CREDITCARD, cache=tmp_path, simulated_rows=5_000, seed=3, on_notice=print)
    frame, meta = read_ingested(done.path, CREDITCARD)
    assert meta.cleaning == done.meta.cleaning
    assert on_spark(tmp_path, "simulated", simulated_rows=5_000, seed=3).meta == done.meta
    assert len(pd.read_parquet(done.path)) == len(frame)


def test_dialects_and_folders_are_read_as_without_spark(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    numbers = narrow.drop(columns=EVENT_TIME)
    german = tmp_path / "german.CSV"
    german.write_text("\ufeff\n" + numbers.to_csv(index=False, sep=";", decimal=","))
    folder = tmp_path / "bank"
    for label in (0, 1):
        part = folder / f"Class={label}" / "day=2026-01-02"
        part.mkdir(parents=True)
        rows = numbers[numbers[LABEL] == label].drop(columns=LABEL)
        rows.to_parquet(part / ("a.PARQUET" if label else "a.pq"))
    (folder / "Class=0" / "._a.pq").write_bytes(b"none of the data")
    for data in (german, folder):
        done = narrow_on_spark(tmp_path, str(data))
        expected = ingest(str(data), tmp_path / "here.parquet", NARROW, cache=tmp_path, on_notice=print)
        assert done.meta.cleaning == expected.meta.cleaning


def test_what_is_refused_without_spark_is_refused_here(spark: Any, narrow: pd.DataFrame, tmp_path: Path) -> None:
    numbers = narrow.drop(columns=EVENT_TIME)
    two = tmp_path / "two"
    two.mkdir()
    numbers.head(20).to_parquet(two / "a.parquet")
    numbers.tail(20).drop(columns="V2").to_parquet(two / "b.parquet")
    lines = numbers.head(20).to_csv(index=False).splitlines()
    (tmp_path / "long.csv").write_text("\n".join([*lines[:5], lines[5] + ",1", *lines[6:]]))
    (tmp_path / "lower.csv").write_text("\n".join([lines[0].lower(), *lines[1:]]))
    (tmp_path / "utf16.csv").write_text("\n".join(lines), encoding="utf-16")
    twice = pd.concat([numbers, numbers[["V1"]]], axis=1).head(5)
    twice.to_csv(tmp_path / "twice.csv", index=False)
    far = np.array(["2026-01-02", "9999-12-31"] * 10, "datetime64[us]")
    numbers.head(20).assign(event_time=far).to_parquet(tmp_path / "far.parquet")
    numbers.to_parquet(tmp_path / "page.parquet", use_dictionary=False)
    (tmp_path / "page.parquet").write_bytes(with_large_page((tmp_path / "page.parquet").read_bytes(), "V2"))
    for data, said in {
        "two": r"b\.parquet: missing column V2, which a\.parquet has",
        "long.csv": "a line has another number of fields than the header in 1 rows",
        "lower.csv": "unknown column 'time'. Write it Time",
        "utf16.csv": "is UTF-16, not UTF-8",
        "twice.csv": "column V1 appears twice",
        "page.parquet": r"page\.parquet: its pages say that they take 2,1\d\d MB",
        "far.parquet": "column event_time does not lie between .* in 10 rows",
    }.items():
        with pytest.raises(InvalidInput, match=said):
            narrow_on_spark(tmp_path, str(tmp_path / data))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_fields_of_every_type_are_read_as_by_pandas(spark: Any, tmp_path: Path, kind: str) -> None:
    contract = tmp_path / "visits.yaml"
    contract.write_text(DATED_VISITS_YAML)
    data = tmp_path / f"visits.{kind}"
    frame = dated_visits(600, seed=4)
    frame.to_csv(data, index=False) if kind == "csv" else frame.to_parquet(data)
    own = parse_contract(DATED_VISITS_YAML.encode(), "visits.yaml")
    done = on_spark(tmp_path, str(data), contract=str(contract))
    expected = ingest(str(data), tmp_path / "here.parquet", own, cache=tmp_path, on_notice=print)
    assert done.meta.values == expected.meta.values == {"country": COUNTRIES}
    mine, its = read_ingested(expected.path, own)[0], pd.read_parquet(done.path)
    its = its.sort_values("at", ignore_index=True).astype({"at": "datetime64[ns, UTC]"})
    pd.testing.assert_frame_equal(its, mine)
    assert done.meta.cleaning.unlabelled_dropped == expected.meta.cleaning.unlabelled_dropped > 0
    assert done.meta.cleaning.missing_kept == expected.meta.cleaning.missing_kept


def test_the_order_of_a_file_is_not_what_spark_keeps(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "visits.yaml").write_text(VISITS_YAML)
    visits(300, seed=4).to_parquet(tmp_path / "visits.parquet")
    with pytest.raises(InvalidInput, match="Without times the rows are in the order of their file"):
        on_spark(tmp_path, str(tmp_path / "visits.parquet"), contract=str(tmp_path / "visits.yaml"))


def payments(rows: int) -> pd.DataFrame:
    """Of the contract `payments`: some at one moment, some without a shop, points or a label, some there twice."""
    rng = np.random.default_rng(6)
    seconds = rng.integers(0, 3 * 86_400, rows) // 900 * 900 + rng.integers(0, 2, rows) * 1e-6
    frame = pd.DataFrame(
        {
            "id": [f"t{number}" for number in range(rows)],
            "at": pd.Timestamp("2026-03-01T00:00:00Z") + pd.to_timedelta(np.round(seconds * 1e6).astype(int), "us"),
            "card": [f"c{number}" for number in rng.integers(0, 9, rows)],
            "shop": rng.choice(["x", "y", None], rows),
            "amount": np.round(rng.exponential(20, rows), 2),
            "points": np.where(rng.random(rows) < 0.3, np.nan, rng.integers(0, 5, rows)),
            "fraud": rng.choice(["yes", "no", None], rows, p=[0.2, 0.7, 0.1]),
        }
    )
    return pd.concat([frame, frame.head(40)], ignore_index=True)


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder", "mixed"])
def test_history_is_that_of_pandas(spark: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit: of two at one moment the one in the earlier file or row came first."""
    monkeypatch.setattr(on_spark_module, "_TOGETHER", 500)
    contract = parse_contract(PAYMENTS, "payments.yaml")
    frame = payments(2_000)
    data = tmp_path / {"csv": "bank.csv", "parquet": "bank.parquet"}.get(kind, "bank folder")
    if kind == "csv":
        frame.to_csv(data, index=False)
    elif kind == "parquet":
        frame.to_parquet(data, row_group_size=300)
    else:
        data.mkdir()
        for number, first in enumerate((0, 100, 1_200)):
            part, name = frame.iloc[first : [100, 1_200, 2_040][number]], data / f"{'cab'[number]} +%"
            if kind == "mixed" and number == 1:
                part.to_csv(f"{name}.csv", index=False)
            else:
                part.to_parquet(f"{name}.parquet", row_group_size=300)
    (tmp_path / "payments.yaml").write_bytes(PAYMENTS)
    done = on_spark(tmp_path, str(data), contract=str(tmp_path / "payments.yaml"))
    expected = ingest(str(data), tmp_path / "here.parquet", contract, cache=tmp_path, on_notice=print)
    assert done.meta.cleaning == expected.meta.cleaning
    mine, its = read_ingested(expected.path, contract)[0], pd.read_parquet(done.path)
    assert list(its.columns) == list(mine.columns)
    ordered = [each.sort_values("id", ignore_index=True) for each in (its, mine)]
    pd.testing.assert_frame_equal(ordered[0].astype({"at": "datetime64[ns, UTC]"}), ordered[1], check_exact=True)
    assert mine["shop_rate"].isna().any()
    assert mine["shop_rate"].max() > 0


PAYMENTS: Final = b"""
contract: payments
fields:
  id: {type: string, role: transaction_id}
  at: {type: timestamp, role: event_time}
  card: {type: string, role: entity}
  shop: {type: string, role: entity, required: false}
  site: {type: string, role: entity, required: false}
  amount: {type: number, role: amount, minimum: 0, unit: EUR}
  points: {type: integer, required: false}
label: {field: fraud, positive: "yes", negative: "no", unknown: [""]}
features:
  amount: {value: amount}
  hour: {hour_of_day: at}
  card_count: {count: {by: card, window: 1d}}
  card_mean: {mean: {of: amount, by: card, window: 1d}}
  card_points: {maximum: {of: points, by: card, window: 2d}}
  card_shops: {distinct: {of: shop, by: card, window: 1d}}
  card_last: {seconds_since_last: {by: card, window: 1d}}
  shop_rate: {fraud_rate: {by: shop, window: 1d, delay: 1h}}
  site_count: {count: {by: site, window: 1d}}
"""
