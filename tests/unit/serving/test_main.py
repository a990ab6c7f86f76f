"""What operators type: keys, replay, purge."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import parquet

from serving.__main__ import main
from stores.decisions import DecisionStore, Keys, migrate, open_engine
from stores.releases import open_releases
from stores.s3 import S3Objects
from tests.support.history import HISTORY_OF_DAYS, decided, history_table


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FRAUD_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FRAUD_RELEASES_URI", str(tmp_path / "releases"))
    monkeypatch.setenv("FRAUD_TRACKING_URI", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def engine(state):
    opened = open_engine(f"sqlite:///{state}/gateway/decisions.db")
    migrate(opened)
    yield opened
    opened.dispose()


def output(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(list(arguments)) == code
    return capsys.readouterr().out


def test_keys_are_made_listed_and_revoked(engine, capsys) -> None:
    key = output(capsys, 0, "keys", "create", "--name", "till", "--scope", "predict", "--scope", "read").strip()
    assert key.startswith("fk_")
    keys = Keys(engine)
    assert keys.verify(key, "read").scopes == {"predict", "read"}
    listed = output(capsys, 0, "keys", "list")
    assert listed.startswith("till\tpredict,read\tmade ")
    assert listed.endswith("\tin force\n")
    assert key not in listed
    assert output(capsys, 1, "keys", "create", "--name", "till", "--scope", "read") == ""
    output(capsys, 0, "keys", "revoke", "--name", "till")
    assert "\trevoked " in output(capsys, 0, "keys", "list")
    assert main(["keys", "revoke", "--name", "till"]) == 2
    assert "No active key is named 'till'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["keys"], ["keys", "create", "--name", "x"], ["purge", "--older-than", "1"]])
def test_usage(state, capsys, arguments) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2


@pytest.fixture
def kept(serve, source, scorer, state, legitimate, fraudulent) -> list[str]:
    """Ids of a single prediction and two of a batch, by a released version."""
    open_releases(str(state / "releases")).publish(scorer.bundle, "fraud-ensemble", 3, {}, datetime.now(UTC))
    source.promote(3, scorer)
    source.live = replace(source.live, digest=scorer.bundle.digest)
    source.scorers[scorer.bundle.digest] = scorer
    with serve(source, state_dir=state) as running:
        running.wait_for(3)
        single: dict[str, Any] = running.client.post("/predict", json=fraudulent).json()
        batch = running.client.post("/predict-batch", json=[legitimate, fraudulent]).json()
    return [single["prediction_id"], *(answer["prediction_id"] for answer in batch)]


def test_replay_gives_the_same_scores(kept, capsys) -> None:
    for prediction_id in kept:
        lines = output(capsys, 0, "replay", prediction_id).splitlines()
        assert lines[0] == f"prediction {prediction_id} by version 3"
        name, _, stored, _, again = lines[1].replace(",", "").split()
        assert name == "hybrid_score:"
        assert float(stored) == float(again) > 0
        assert lines[-1] == "equal"


def test_replay_says_what_differs(kept, engine, capsys) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE predictions SET hybrid_score = 0.25 WHERE segment_id IS NULL")
    lines = output(capsys, 1, "replay", kept[0]).splitlines()
    assert lines[1].startswith("hybrid_score: stored 0.25, replayed 0.")
    assert lines[-1] == "DIFFERENT"


def test_replay_of_what_cannot_be(kept, state, engine, capsys) -> None:
    assert main(["replay", "nothing"]) == 2
    assert "No prediction nothing is kept" in capsys.readouterr().err
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE predictions SET bundle_digest = '{'0' * 64}'")
        connection.exec_driver_sql(f"INSERT INTO bundles SELECT '{'0' * 64}', contract_digest FROM bundles")
    assert main(["replay", kept[0]]) == 2
    assert "MLflow server" in capsys.readouterr().err
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE contracts SET name = 'shop'")
    assert main(["replay", kept[0]]) == 2
    said = capsys.readouterr().err
    assert "decided under shop" in said
    assert "Set FRAUD_MODEL_NAME to that contract's model." in said


def test_purge_exports_first(kept, state, engine, capsys) -> None:
    folder = state / "old"
    assert output(capsys, 0, "purge", "--older-than", "1d", "--to", str(folder)) == "0 predictions deleted\n"
    with engine.begin() as connection:
        for table in ("predictions", "segments"):
            connection.exec_driver_sql(
                f"UPDATE {table} SET received_at = ?",
                (str(datetime.now(UTC).replace(tzinfo=None) - timedelta(days=2)),),
            )
    assert output(capsys, 0, "purge", "--older-than", "1d", "--to", str(folder)).startswith("3 predictions deleted")
    [path] = folder.glob("decisions-*.parquet")
    assert sorted(parquet.read_table(path)["prediction_id"].to_pylist()) == sorted(kept)
    assert DecisionStore(engine).find_all(kept) == {}


def test_purge_says_what_it_deleted_of_the_past(state, engine, capsys, monkeypatch) -> None:
    """Transactions of more than eleven days ago: out of reach of windows of ten days from yesterday on."""
    (state / "history.yaml").write_text(HISTORY_OF_DAYS)
    monkeypatch.setenv("FRAUD_CONTRACT", str(state / "history.yaml"))
    store = DecisionStore(engine)
    table = history_table(40, seed=1)
    end = pd.Timestamp.now(tz="UTC").floor("s") - pd.Timedelta(days=11, minutes=1)
    store.replay(decided(table.assign(at=table["at"] - table["at"].max() + end)))
    said = output(capsys, 0, "purge", "--older-than", "1d", "--to", str(state / "old"))
    assert said.splitlines()[1:] == ["40 past transactions deleted, out of reach of every feature from history"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM key_events").scalar() == 0


@pytest.fixture
def aged(kept, engine) -> list[str]:
    """The same predictions, two days old."""
    with engine.begin() as connection:
        for table in ("predictions", "segments"):
            connection.exec_driver_sql(
                f"UPDATE {table} SET received_at = ?",
                (str(datetime.now(UTC).replace(tzinfo=None) - timedelta(days=2)),),
            )
    return kept


def test_purge_exports_to_s3(aged, state, engine, capsys, monkeypatch, s3_server, s3_bucket) -> None:
    monkeypatch.setenv("FRAUD_S3_ENDPOINT_URL", s3_server.url)
    said = output(capsys, 0, "purge", "--older-than", "1d", "--to", f"s3://{s3_bucket}/old/")
    decisions, _labels = S3Objects(f"s3://{s3_bucket}/old", s3_server.url, setting="--to").names()
    assert said == f"3 predictions deleted, kept in s3://{s3_bucket}/old/{decisions}\n"
    content = S3Objects(f"s3://{s3_bucket}/old", s3_server.url, setting="--to").read(decisions)
    assert sorted(parquet.read_table(BytesIO(content))["prediction_id"].to_pylist()) == sorted(aged)
    assert DecisionStore(engine).find_all(aged) == {}
    assert [path.name for path in state.iterdir() if path.name.startswith("export-")] == []


def test_what_cannot_be_exported_is_not_deleted(aged, state, engine, capsys, monkeypatch, s3_server, s3_bucket) -> None:
    monkeypatch.setenv("FRAUD_S3_ENDPOINT_URL", s3_server.url)
    assert main(["purge", "--older-than", "1d", "--to", "s3://no-such-bucket/old"]) == 2
    assert "there is no such bucket. Check --to" in capsys.readouterr().err
    assert DecisionStore(engine).find_all(aged).keys() == set(aged)
