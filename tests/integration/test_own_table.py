"""A bank's own table, from its file to answered predictions, monitoring, scoring and retraining."""

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from ml_project.cleaning import clean
from ml_project.contract_file import FOLDER, contract_named
from ml_project.errors import InvalidInput
from pipelines.data.sources import simulated_tables
from pipelines.monitoring.run import monitor
from pipelines.monitoring.skew_causes import Cause
from pipelines.monitoring.window import Window
from pipelines.promotion.promote import Order, Outcome
from pipelines.retraining.run import retrain
from pipelines.schedule.run import BREACH
from pipelines.scoring.run import score
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from pipelines.training.steps import run_main, run_promote, run_train
from pipelines.training.train import Measurement
from stores.decisions import open_store
from stores.mlflow_client import quiet_mlflow
from stores.registry import PRODUCTION, Registry
from tests.support.commands import Commands
from tests.support.gateway import Gateway
from tests.support.processes import clean_environment
from tests.support.shop import (
    SHOP,
    SHOP_YAML,
    VISITS_YAML,
    WIDE,
    WIDE_YAML,
    card_transactions,
    dated_visits,
    shop_transactions,
    wide_transactions,
)

pytestmark = pytest.mark.slow


class Trained(NamedTuple):
    """A table's settings, and what `main` made of it."""

    settings: PipelineSettings
    run: Run
    measured: Measurement


def settings_of(folder: Path, contract: str | Path, table: pd.DataFrame, database: Path) -> PipelineSettings:
    """Of a table, of a contract's text or file, and with a copy of MLflow's empty database."""
    folder.mkdir(exist_ok=True)
    if isinstance(contract, str):
        (folder / "own.yaml").write_text(contract)
        contract = folder / "own.yaml"
    table.to_csv(folder / "own.csv", index=False)
    (folder / "var").mkdir(exist_ok=True)
    shutil.copy(database, folder / "var")
    quiet_mlflow()
    return PipelineSettings(
        state_dir=folder / "var",
        tracking_uri="",
        contract=str(contract),
        data=str(folder / "own.csv"),
        trials=1,
        folds=2,
        replicates=100,
        threads=2,
        label_delay_days=0,
    )


def trained(folder: Path, contract: str | Path, table: pd.DataFrame, database: Path) -> Trained:
    """`main` once."""
    settings = settings_of(folder, contract, table, database)
    run, measured, promotion = run_main(settings)
    assert promotion.production is not None
    return Trained(settings, run, measured)


def kept_by(gateway: Gateway, settings: PipelineSettings, *, evidently: bool = False) -> PipelineSettings:
    """Of the steps that look at what a gateway has kept; without Evidently's page, which takes longer than the rest."""
    database = type(settings.database_url)(f"sqlite:///{gateway.state}/gateway/decisions.db")
    return settings.model_copy(update={"database_url": database, "evidently": evidently})


def live(settings: PipelineSettings) -> int:
    """The version that is Production: what another test of this module learnt may have become it."""
    return Registry(settings.mlflow_uri, settings.model_name).aliases()[PRODUCTION]


def last_day() -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(days=1), now)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> PipelineSettings:
    """Names that want quoting."""
    return trained(
        tmp_path_factory.mktemp("shop"), SHOP_YAML, shop_transactions(6_000, seed=1), empty_mlflow_database
    ).settings


def body(frame: pd.DataFrame, row: int, **others: object) -> dict[str, object]:
    return {**frame[list(SHOP.raw_fields)].iloc[row].to_dict(), **others}


def test_it_is_served_watched_and_learnt_from(own: PipelineSettings, tmp_path: Path) -> None:
    frame = shop_transactions(300, seed=3, frauds=0.2)
    with Gateway(tmp_path, FRAUD_RELEASES_URI=own.releases, FRAUD_CONTRACT=own.contract) as gateway:
        gateway.wait_for_version(live(own))
        now = datetime.now(UTC) - timedelta(hours=1)
        bodies = [body(frame, row, transaction_id=f"order {row}", event_time=now.isoformat()) for row in range(300)]
        answers = [gateway.client.post("/predict?explain=true", json=each).json() for each in bodies[:20]]
        assert {answer["transaction_id"] for answer in answers} == {f"order {row}" for row in range(20)}
        assert {reason["feature"] for answer in answers for reason in answer["reasons"]} & {"class", "1st"}
        content = io.BytesIO()
        frame.to_parquet(content)
        for kind, upload in (
            ("text/csv", frame.to_csv(index=False).encode()),
            ("application/vnd.apache.parquet", content.getvalue()),
        ):
            found = gateway.client.post(
                "/predict-batch", content=upload, headers={"Content-Type": kind, "Accept": "application/json"}
            ).json()
            mine = [each["hybrid_score"] for each in answers]
            assert [each["hybrid_score"] for each in found[:20]] == pytest.approx(mine, abs=1e-6)
        refused = gateway.client.post("/predict", json={**body(frame, 0), "1st": 99, "Amount": 3, "no": None})
        assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert {error["field"] for error in refused.json()["errors"]} == {"1st", "Amount", "no"}
        described = gateway.client.get("/features").json()
        assert tuple(described["required_features"]) == SHOP.raw_fields
        assert described["features"]["1st"]["maximum"] == 50
        schema = gateway.client.get("/openapi.json").json()
        taken = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert set(SHOP.raw_fields) <= taken["schema"]["properties"].keys()
        assert taken["example"]["betrag.in.€"] == 12.5
        page = gateway.client.get("/predictions?limit=5").json()
        assert tuple(page["items"][0]["inputs"]) == SHOP.raw_fields
    kept = kept_by(gateway, own, evidently=True)
    outcome = monitor(kept, last_day(), None, datetime.now(UTC))
    report, pages = outcome.report, MlflowClient(own.mlflow_uri).list_artifacts(outcome.run_id)
    assert {"monitor.html", "evidently.html"} <= {page.path for page in pages}
    assert {drift.name for drift in report.watched.drifts} == {*SHOP.feature_names, "hybrid_score"} - {"hour"}
    retrained = retrain(kept, "manual", datetime.now(UTC) + timedelta(hours=1))
    assert retrained.run_id


def test_it_is_scored_as_a_table_and_by_the_pyfunc(own: PipelineSettings, tmp_path: Path) -> None:
    frame = shop_transactions(500, seed=5)
    frame.to_parquet(tmp_path / "month.parquet")
    outcome = score(own, str(tmp_path / "month.parquet"), str(tmp_path / "out"), "local")
    assert outcome.job["rows"] == 500
    mlflow.set_tracking_uri(own.mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{own.model_name}/{live(own)}")
    scored = pd.read_parquet(tmp_path / "out").sort_values("source_row")
    mine = model.predict(frame[list(SHOP.raw_fields)])
    assert scored["hybrid_score"].tolist() == pytest.approx(mine["hybrid_score"].tolist(), abs=1e-6)


def test_contracts_are_not_mixed(own: PipelineSettings, tmp_path: Path) -> None:
    other = own.model_copy(update={"contract": "creditcard", "data": "simulated"})
    with pytest.raises(
        InvalidInput, match="experiment fraud-detection holds runs of the contract shop, not of creditcard"
    ):
        run_train(other)
    other = other.model_copy(update={"experiment": "another"})
    with pytest.raises(InvalidInput, match=r"ingested by another contract than creditcard, version 1"):
        run_train(other)
    changed = tmp_path / "shop.yaml"
    changed.write_text(SHOP_YAML.replace("above: 40", "above: 50"))
    with pytest.raises(InvalidInput, match=r"ingested by another contract than shop.*Run ingest again"):
        run_train(own.model_copy(update={"contract": str(changed)}))
    with pytest.raises(InvalidInput, match="a table of the contract creditcard, not of shop"):
        run_main(own.model_copy(update={"data": "simulated"}))


def timeless(rows: int, seed: int, frauds: float = 0.05) -> pd.DataFrame:
    return dated_visits(rows, seed, frauds).drop(columns="at")


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> PipelineSettings:
    """Categories, booleans and missing values; no time and no amount."""
    settings, run, measured = trained(
        tmp_path_factory.mktemp("visits"), VISITS_YAML, timeless(5_000, seed=1), empty_mlflow_database
    )
    assert "test_cost_per_day" not in measured.metrics
    assert run.data.data.metrics["unlabelled_dropped"] > 100
    return settings


def test_categories_and_missing_values_are_served_and_scored_alike(visited: PipelineSettings, tmp_path: Path) -> None:
    frame = timeless(200, seed=3, frauds=0.3).drop(columns="outcome")
    frame.to_csv(tmp_path / "month.csv", index=False)
    frame.to_parquet(tmp_path / "month.parquet")
    outcome = score(visited, str(tmp_path / "month.csv"), str(tmp_path / "out"), "local")
    assert (outcome.job["rows"], outcome.job["quarantined"]) == (200, 0)
    scored = pd.read_parquet(tmp_path / "out").sort_values("source_row")["hybrid_score"].tolist()
    mlflow.set_tracking_uri(visited.mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{visited.model_name}/{live(visited)}")
    assert model.predict(frame)["hybrid_score"].tolist() == pytest.approx(scored, abs=1e-6)
    with Gateway(tmp_path, FRAUD_RELEASES_URI=visited.releases, FRAUD_CONTRACT=visited.contract) as gateway:
        gateway.wait_for_version(live(visited))
        rows = json.loads(frame.to_json(orient="records"))
        for kind, upload in (
            ("application/json", json.dumps(rows).encode()),
            ("text/csv", (tmp_path / "month.csv").read_bytes()),
            ("application/vnd.apache.parquet", (tmp_path / "month.parquet").read_bytes()),
        ):
            found = gateway.client.post(
                "/predict-batch", content=upload, headers={"Content-Type": kind, "Accept": "application/json"}
            ).json()
            assert [each["hybrid_score"] for each in found] == pytest.approx(scored, abs=1e-6), kind
        body = {"channel": "fax", "country": "XX", "new customer": True, "risk": 4.0}
        answer = gateway.client.post("/predict", json=body)
        warned = {(each["feature"], each["value"]) for each in answer.json()["warnings"]}
        assert warned >= {("channel", "other"), ("country", "other")}
        wrong = {"channel": 1.5, "country": None, "new customer": "perhaps", "items": 2.5, "risk": "high"}
        refused = gateway.client.post("/predict", json=wrong)
        assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert {error["field"] for error in refused.json()["errors"]} == wrong.keys()


def test_categories_are_watched_and_learnt_from(visited: PipelineSettings, tmp_path: Path, commands: Commands) -> None:
    """Of what a gateway has kept, a third has a country that training never saw, and more has no channel."""
    frame = timeless(600, seed=8).drop(columns="outcome")
    frame.loc[::3, "country"], frame.loc[::2, "channel"] = "XX", None
    with Gateway(tmp_path, FRAUD_RELEASES_URI=visited.releases, FRAUD_CONTRACT=visited.contract) as gateway:
        gateway.wait_for_version(live(visited))
        rows = json.loads(frame.to_json(orient="records"))
        answers = [gateway.client.post("/predict", json=row).json() for row in rows[:30]]
        answers += gateway.client.post("/predict-batch", json=rows[30:]).json()
        fraud = [answer for answer in answers if answer["decision"] != "APPROVE"]
        said = [{"prediction_id": answer["prediction_id"], "label": 1} for answer in fraud]
        assert gateway.client.post("/feedback", json=said).status_code == httpx.codes.OK
    kept = kept_by(gateway, visited)
    environment = clean_environment(
        FRAUD_STATE_DIR=str(kept.state_dir),
        FRAUD_DATABASE_URL=kept.database_url.get_secret_value(),
        FRAUD_CONTRACT=kept.contract,
        FRAUD_LABEL_DELAY_DAYS="0",
        MLFLOW_TRACKING_URI="",
    )
    done = commands.run("monitor", "--json", environment=environment)
    assert done.returncode == BREACH, done.stderr
    report = json.loads(done.stdout)
    figures = {(each["name"], each["of"]): each for each in report["figures"]}
    assert figures["other", "country"]["value"] == pytest.approx(1 / 3, abs=0.01)
    assert figures["missing", "channel"]["value"] == pytest.approx(0.6, abs=0.1)
    for name, of in (("psi", "country"), ("other", "country"), ("psi", "channel"), ("missing", "channel")):
        assert figures[name, of]["breached"], (name, of)
        assert figures[name, of]["high"] < figures[name, of]["value"]
    for name, of in (("psi", "risk"), ("psi", "newsletter"), ("missing", "score")):
        assert not figures[name, of]["breached"], (name, of)
    retrained = retrain(kept, "manual", datetime.now(UTC) + timedelta(hours=1))
    assert retrained.run_id


@pytest.fixture(scope="module")
def drafted(
    tmp_path_factory: pytest.TempPathFactory, commands: Commands, empty_mlflow_database: Path
) -> PipelineSettings:
    """From a table to a version by three commands, with an unedited draft."""
    folder = tmp_path_factory.mktemp("cards")
    data, contract = str(folder / "cards.csv"), str(folder / "cards.yaml")
    table = card_transactions(9_000, seed=1)
    table.to_csv(data, index=False)
    for arguments in (
        ("infer", "--data", data, "--label", "is_fraud", "--entity", "card no.", "--output", contract),
        ("check", contract, "--data", data),
    ):
        done = commands.run("contract", *arguments, environment=clean_environment(FRAUD_STATE_DIR=str(folder / "var")))
        assert (done.returncode, done.stderr) == (0, "")
    return trained(folder, Path(contract), table, empty_mlflow_database).settings


def test_an_unedited_draft_answers_and_learns(drafted: PipelineSettings, tmp_path: Path) -> None:
    frame = card_transactions(300, seed=5, frauds=0.3, days=2)
    # as they come: `score` has the history of the whole table, the gateway that of what came before
    frame = frame.sort_values("at", key=pd.to_datetime, kind="stable", ignore_index=True)
    with Gateway(tmp_path, FRAUD_RELEASES_URI=drafted.releases, FRAUD_CONTRACT=drafted.contract) as gateway:
        gateway.wait_for_version(live(drafted))
        bodies = json.loads(frame.drop(columns="is_fraud").to_json(orient="records"))
        answers = [gateway.client.post("/predict", json=body).json() for body in bodies[:30]]
        assert [answer["transaction_id"] for answer in answers] == frame["transaction"].tolist()[:30]
        found = gateway.client.post("/predict-batch", json=bodies).json()
        alike = [answer["hybrid_score"] for answer in answers]
        assert [each["hybrid_score"] for each in found[:30]] == pytest.approx(alike, abs=1e-6)
        refused = gateway.client.post("/predict", json={**bodies[0], "cents": 1.5, "at": "yesterday", "card no.": 7})
        assert {error["field"] for error in refused.json()["errors"]} == {"cents", "at", "card no."}
    frame.to_csv(tmp_path / "month.csv", index=False)
    score(drafted, str(tmp_path / "month.csv"), str(tmp_path / "out"), "local")
    scored = pd.read_parquet(tmp_path / "out").sort_values("source_row")
    assert scored["hybrid_score"].tolist()[:30] == pytest.approx(alike, abs=1e-6)
    assert scored["card no."].tolist() == frame["card no."].tolist()
    kept = kept_by(gateway, drafted)
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert monitor(kept, window, None, datetime.now(UTC)).report.watched.figures
    with open_store(kept.decisions_url, existing=True) as store:
        table = next(store.tables(kept.data_contract))
    assert {*table["card no."].to_pylist()} <= {*frame["card no."]}
    assert retrain(kept, "manual", datetime.now(UTC)).run_id


def test_three_hundred_columns(tmp_path: Path, empty_mlflow_database: Path) -> None:
    settings = trained(tmp_path / "wide", WIDE_YAML, wide_transactions(3_000, seed=1), empty_mlflow_database).settings
    frame = wide_transactions(400, seed=2).drop(columns="y")
    frame.to_csv(tmp_path / "month.csv", index=False)
    score(settings, str(tmp_path / "month.csv"), str(tmp_path / "out"), "local")
    scored = pd.read_parquet(tmp_path / "out").sort_values("source_row")["hybrid_score"].tolist()
    with Gateway(tmp_path, FRAUD_RELEASES_URI=settings.releases, FRAUD_CONTRACT=settings.contract) as gateway:
        gateway.wait_for_version(live(settings))
        rows = json.loads(frame.to_json(orient="records", double_precision=15))
        answers = [gateway.client.post("/predict?explain=true", json=row).json() for row in rows[:10]]
        answers += gateway.client.post("/predict-batch", json=rows[10:]).json()
        assert [each["hybrid_score"] for each in answers] == pytest.approx(scored, abs=1e-6)
        groups = gateway.client.get("/features").json()["groups"]
        assert [group["fields"] for group in groups] == [list(WIDE.raw_fields[:297])]
        refused = gateway.client.post("/predict", json=dict.fromkeys(WIDE.raw_fields, "x"))
        assert len(refused.json()["errors"]) == 1
    report = monitor(kept_by(gateway, settings), last_day(), None, datetime.now(UTC)).report
    assert len(report.watched.drifts) == 300 + 1


def test_history_is_known_from_the_first_answer_on(tmp_path: Path, empty_mlflow_database: Path) -> None:
    """Promotion brings in what customers and terminals did in the training table; decisions go on from there."""
    known = contract_named("cards")
    table = pd.concat(simulated_tables(known, 14_000, seed=1), ignore_index=True)
    cut = len(table) - 40
    own = settings_of(tmp_path, FOLDER / "cards.yaml", table[:cut], empty_mlflow_database)
    run, _measured, promotion = run_main(own)
    figures, gate = run.data.data.metrics, json.loads(run.fetch("gate.json", tmp_path).read_text())
    assert run.data.data.params["card_entity"] == "customer"
    judged = {check["name"]: check["figures"] for check in gate["checks"]}
    assert judged["card precision at 100"]["value"] == pytest.approx(figures["test_card_precision"], abs=1e-6)
    per_card = judged["average precision per customer"]["value"]
    assert 0 < per_card == pytest.approx(figures["test_card_average_precision"], abs=1e-6)
    assert figures["test_card_precision_low"] <= figures["test_card_precision"] <= figures["test_card_precision_high"]
    if promotion.outcome is Outcome.REFUSED:  # so few rows have too few frauds for the gate
        assert run_promote(own, run.id, None, Order("a trial", force=True)).outcome is Outcome.PROMOTED
    rows = table[cut:].drop(columns=known.label_field).to_dict("records")
    settings = {
        "FRAUD_DATABASE_URL": own.decisions_url,
        "FRAUD_CONTRACT": own.contract,
        "FRAUD_RELEASES_URI": own.releases,
    }
    with Gateway(tmp_path, **settings) as gateway:
        gateway.wait_for_version(1)
        sent = [{**row, known.event_time: f"{row[known.event_time]:%Y-%m-%dT%H:%M:%S}Z"} for row in rows]
        answers = [gateway.client.post("/predict", json=each).raise_for_status().json() for each in sent]
        inputs = [gateway.client.get(f"/predictions/{each['prediction_id']}").json()["inputs"] for each in answers]
        begin, end = (pd.Timestamp(sent[place][known.event_time]).to_pydatetime() for place in (0, -1))
        window = Window(begin, end + timedelta(seconds=1))
        in_time = monitor(own, window, 1, datetime.now(UTC)).report.skew
        late = sent[-2] | {"transaction": "late", known.event_time: sent[0][known.event_time]}
        gateway.client.post("/predict", json=late).raise_for_status()
        outcome = monitor(own, window, 1, datetime.now(UTC))
    assert in_time is not None
    assert (in_time.decisions, in_time.differences) == (len(rows), [])
    assert outcome.report.skew is not None
    assert {each.cause for each in outcome.report.skew.differences} == {Cause.LATE_EVENT}
    assert outcome.report.breaches == [each for each in outcome.report.breaches if "skew" not in each.name]
    logged = MlflowClient(own.mlflow_uri).get_run(outcome.run_id).data.metrics
    assert logged["skew_late_event"] == logged["skew"] > 0 == logged["skew_unexplained"]
    unlabelled = table.assign(**{known.label_field: np.where(np.arange(len(table)) < cut, table[known.label_field], 0)})
    expected = clean(unlabelled, known)[0].tail(len(rows))
    names = [feature.name for feature in known.history]
    np.testing.assert_array_equal(pd.DataFrame(inputs)[names].to_numpy(float), expected[names].to_numpy())
    retrained = retrain(own, "manual", datetime.now(UTC) + timedelta(hours=1))
    assert retrained.run_id
