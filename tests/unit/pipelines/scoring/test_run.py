"""The step as a whole, on the engine of one machine."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import InvalidInput, LostRace, Unavailable
from pipelines.scoring.output import open_output
from pipelines.scoring.run import score
from pipelines.settings import PipelineSettings
from tests.support.servers import S3Server
from tests.unit.pipelines.scoring.conftest import ROWS, assert_equal_scores, read_output


def test_scores_are_the_scorers_and_other_columns_are_carried(
    settings: PipelineSettings, parquet: Path, frame: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    scored = score(settings, str(parquet), str(tmp_path / "out"), "local")
    found = read_output(tmp_path / "out")
    assert_equal_scores(found, expected)
    assert found["transaction_id"].tolist() == frame["transaction_id"].tolist()
    np.testing.assert_array_equal(found["Amount"], frame["Amount"])
    assert set(found["model_version"]) == {"1"}
    assert "V14" not in found
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_job.json",
        *(f"decision={name}" for name in sorted(expected["decision"].unique())),
    ]
    assert scored.job["decisions"] == expected["decision"].value_counts().to_dict()


def test_counts_amounts_and_drift_stand_in_the_run(
    settings: PipelineSettings, parquet: Path, frame: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    scored = score(settings, str(parquet), str(tmp_path / "out"), "local")
    run = MlflowClient(settings.mlflow_uri).get_run(scored.run_id)
    metrics = run.data.metrics
    assert (metrics["rows"], metrics["rows_scored"], metrics["rows_quarantined"]) == (ROWS, ROWS, 0)
    declined = expected["decision"] == "DECLINE"
    assert metrics["rows_decline"] == declined.sum()
    assert metrics["amount_decline"] == pytest.approx(frame["Amount"][declined].sum())
    assert metrics["psi_V14"] == pytest.approx(scored.job["drift"]["V14"]["psi"])
    assert metrics["rows_per_second"] > 0
    assert run.data.tags["fraud.done.score"] == "true"
    assert (run.data.params["engine"], run.data.params["rows"]) == ("local", str(ROWS))


def test_drift_of_a_shifted_feature_is_said(
    settings: PipelineSettings, parquet: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.assign(V14=frame["V14"] + 3).to_parquet(parquet)
    assert "psi_V14" in score(settings, str(parquet), str(tmp_path / "out"), "local").job["drifted"]


def spoilt(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows 3, 10, 11 and 2,000 cannot be scored."""
    bad = frame.copy()
    bad.loc[3, "V5"] = np.nan
    bad.loc[10, "Amount"] = -1.0
    bad.loc[11, ["V1", "V2"]] = np.inf
    bad.loc[2_000, "V28"] = 1e200
    return bad


@pytest.mark.parametrize("write", [pd.DataFrame.to_parquet, pd.DataFrame.to_csv])
def test_bad_rows_go_to_quarantine_with_reasons(
    settings: PipelineSettings,
    frame: pd.DataFrame,
    expected: pd.DataFrame,
    tmp_path: Path,
    write: Callable[..., None],
) -> None:
    data = tmp_path / ("bad.parquet" if write is pd.DataFrame.to_parquet else "bad.csv")
    write(spoilt(frame), data, index=False)
    scored = score(settings, str(data), str(tmp_path / "out"), "local")
    refused = pq.read_table(tmp_path / "out" / "_quarantine").to_pandas().sort_values("source_row")
    assert refused["source_row"].tolist() == [3, 10, 11, 2_000]
    assert [list(reasons) for reasons in refused["reasons"]] == [
        ["V5 is missing"],
        ["Amount is negative"],
        ["V1 is not finite", "V2 is not finite"],
        ["V28 is above 1e+15 in size"],
    ]
    assert json.loads(refused["content"].iloc[1])["transaction_id"] == "t10"
    found = read_output(tmp_path / "out")
    np.testing.assert_array_equal(found["hybrid_score"], expected["hybrid_score"].drop([3, 10, 11, 2_000]))
    assert scored.job["quarantined"] == 4
    assert scored.job["reasons"]["V5 is missing"] == 1


def test_csv_scores_like_parquet_and_broken_lines_are_kept(
    settings: PipelineSettings, frame: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    lines = frame.to_csv(index=False).splitlines()
    lines[5] = "1,2,3"
    lines[8] = lines[8].replace(",", ",maybe", 1)
    lines[9] = lines[9] + ",more"
    data = tmp_path / "month.csv"
    data.write_text("\r\n".join(lines) + "\r\n")
    score(settings, str(data), str(tmp_path / "out"), "local")
    refused = pq.read_table(tmp_path / "out" / "_quarantine").to_pandas().sort_values("source_row")
    assert refused["source_row"].tolist() == [4, 7, 8]
    assert [list(reasons) for reasons in refused["reasons"]] == [
        ["the line has 3 fields, not 32"],
        ["V1 is not a number"],
        ["the line has 33 fields, not 32"],
    ]
    assert refused["content"].iloc[0] == "1,2,3"
    found = read_output(tmp_path / "out")
    np.testing.assert_array_equal(found["hybrid_score"], expected["hybrid_score"].drop([4, 7, 8]))
    assert found["transaction_id"].tolist() == frame["transaction_id"].drop([4, 7, 8]).tolist()


def test_a_finished_output_is_left_alone(settings: PipelineSettings, parquet: Path, tmp_path: Path) -> None:
    first = score(settings, str(parquet), str(tmp_path / "out"), "local")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = score(settings, str(parquet), str(tmp_path / "out"), "local")
    assert (again.summary, again.job["run_id"]) == (None, first.run_id)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_nothing_else_is_ever_overwritten(
    settings: PipelineSettings, parquet: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="holds other files"):
        score(settings, str(parquet), str(tmp_path / "mine"), "local")
    score(settings, str(parquet), str(tmp_path / "out"), "local")
    frame.head(10).to_parquet(parquet)
    with pytest.raises(InvalidInput, match="another job"):
        score(settings, str(parquet), str(tmp_path / "out"), "local")
    assert len(read_output(tmp_path / "out")) == ROWS


def test_two_at_once_are_kept_apart(settings: PipelineSettings, parquet: Path, tmp_path: Path) -> None:
    with open_output(str(tmp_path / "out"), "").alone(), pytest.raises(LostRace, match="Another process is writing"):
        score(settings, str(parquet), str(tmp_path / "out"), "local")


def test_no_version_is_one_message(settings: PipelineSettings, parquet: Path, tmp_path: Path) -> None:
    nobody = settings.model_copy(update={"model_name": "nobody"})
    with pytest.raises(InvalidInput, match="No version is Production"):
        score(nobody, str(parquet), str(tmp_path / "out"), "local")


def test_in_s3_it_is_the_same(
    settings: PipelineSettings,
    parquet: Path,
    expected: pd.DataFrame,
    tmp_path: Path,
    s3_server: S3Server,
    s3_bucket: str,
) -> None:
    client = s3_server.client()
    client.upload_file(str(parquet), s3_bucket, "in/month.parquet")
    there = settings.model_copy(update={"s3_endpoint_url": s3_server.url})
    score(there, f"s3a://{s3_bucket}/in", f"s3://{s3_bucket}/deep/out", "local")
    folder = s3_server.folder / s3_bucket / "deep" / "out"
    assert_equal_scores(read_output(folder), expected)
    assert json.loads((folder / "_job.json").read_text())["rows"] == ROWS
    assert not [path for path in folder.rglob("_scoring/*") if path.is_file()]
    assert score(there, f"s3://{s3_bucket}/in", f"s3://{s3_bucket}/deep/out", "local").summary is None
    with pytest.raises(InvalidInput, match="holds other files"):
        score(there, f"s3://{s3_bucket}/in", f"s3://{s3_bucket}/in", "local")


def test_s3_that_does_not_answer_is_named(settings: PipelineSettings, s3_credentials: None, tmp_path: Path) -> None:
    away = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9|connect"):
        score(away, "s3://bucket/in", str(tmp_path / "out"), "local")


def test_dialects_of_csv_score_like_parquet(
    settings: PipelineSettings, frame: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    german = frame.to_csv(index=False, sep=";", decimal=",").splitlines()
    german[5] = german[5].replace(",", ",x", 1)
    (tmp_path / "german.csv").write_text("\ufeffsep=;\n\n" + "\n".join(german))
    spaced = frame.to_csv(index=False).replace(",", ", ")
    (tmp_path / "spaced.CSV").write_text("\n" + spaced)
    for name, without in (("german.csv", [4]), ("spaced.CSV", [])):
        out = tmp_path / f"{name} scored"
        score(settings, str(tmp_path / name), str(out), "local")
        found = read_output(out)
        np.testing.assert_array_equal(found["hybrid_score"], expected["hybrid_score"].drop(without))
        assert found["transaction_id"].str.strip().tolist() == frame["transaction_id"].drop(without).tolist()
