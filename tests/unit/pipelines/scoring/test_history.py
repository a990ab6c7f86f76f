"""Tables of a contract with history: scored in parts, files and pieces, each row sees what came before it in all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.bundle import Bundle
from ml_project.cleaning import clean
from ml_project.contract_file import parse_contract
from ml_project.contract_parts import OUTPUTS
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.errors import InvalidInput
from ml_project.fitting import fit_twin
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from ml_project.split import split_by_time
from pipelines.data.places import find_files
from pipelines.scoring import engines, history
from pipelines.scoring import plan as planning
from pipelines.scoring.history import keep_history
from pipelines.scoring.parts import HISTORY_FOLDER, history_name
from pipelines.scoring.plan import make_plan
from pipelines.scoring.run import score
from pipelines.settings import PipelineSettings
from pipelines.training.model_logging import model_parts
from pipelines.training.pyfunc_model import FraudEnsemble
from stores.objects import LocalObjects
from stores.registry import Registry
from tests.unit.pipelines.scoring.conftest import read_output
from tests.unit.stores.conftest import AddVersion

CONTRACT = parse_contract(
    b"""
contract: history
fields:
  name: {type: string, role: transaction_id}
  at: {type: timestamp, role: event_time}
  card: {type: string, role: entity}
  shop: {type: string, role: entity, required: false}
  amount: {type: number, role: amount, minimum: 0, unit: EUR}
  kind: {type: category, values: [a, b], required: false}
label: {field: fraud, positive: "yes", negative: "no", unknown: [""]}
features:
  amount: {value: amount}
  card_count: {count: {by: card, window: 1d}}
  card_mean: {mean: {of: amount, by: card, window: 1d}}
  card_shops: {distinct: {of: shop, by: card, window: 1d}}
  card_kinds: {distinct: {of: kind, by: card, window: 1d}}
  card_last: {seconds_since_last: {by: card, window: 7d}}
  shop_rate: {fraud_rate: {by: shop, window: 1d, delay: 1h}}
  to_mean: {ratio: [amount, card_mean]}
""",
    "history.yaml",
)
"""The event time is no feature: a row must have it all the same."""

ROWS = 1_200


def _transactions() -> pd.DataFrame:
    """In no order, some at one moment, some without a shop, a kind or a label."""
    rng = np.random.default_rng(5)
    fraud = rng.random(ROWS) < 0.15
    label = np.where(fraud, "yes", "no").astype(object)
    label[rng.random(ROWS) < 0.1] = None
    seconds = np.round(rng.integers(0, 4 * 86_400, ROWS) / 600) * 600
    times = pd.Timestamp("2026-03-01T00:00:00Z") + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame(
        {
            "name": [f"t{number}" for number in range(ROWS)],
            "at": [each.isoformat() for each in times],
            "card": [f"c{number}" for number in rng.integers(0, 12, ROWS)],
            "shop": rng.choice(["x", "y", None], ROWS),
            "amount": np.round(rng.exponential(20, ROWS) * np.where(fraud, 6, 1), 2),
            "kind": rng.choice(["a", "b", None], ROWS),
            "fraud": label,
        }
    )


@dataclass(frozen=True)
class Trained:
    """A table, a model of it, and what that says of the clean table's rows, by transaction."""

    frame: pd.DataFrame
    bundle: Bundle
    expected: pd.DataFrame

    def assert_scored(self, folder: Path) -> None:
        """Rows with a known label: `ingest` leaves the others out, though not out of the history of the rest."""
        found = read_output(folder).set_index("name")
        known = self.expected
        assert set(found.index) == set(self.frame["name"])
        for output in OUTPUTS:
            # ONNX Runtime's power of a float may end in another bit with the place that a row has in memory.
            np.testing.assert_allclose(found.loc[known.index, output], known[output], rtol=0, atol=2e-7)


@pytest.fixture(scope="module")
def trained() -> Trained:
    frame = _transactions()
    table, _report = clean(frame, CONTRACT)
    data = Dataset.from_frame(table, CONTRACT)
    small = EnsembleSettings(
        blend_weight=0.2,
        forest=ForestSettings(trees=10, max_samples=64),
        booster=BoosterSettings(rounds=15, num_parallel_tree=1, max_depth=4, learning_rate=0.3),
    )
    fitted = fit_twin(split_by_time(data), small, LocalEngine(seed=1), {"source": "simulated", "digest": "0" * 64})
    manifest = fitted.bundle.manifest.model_copy(update={"policy": "f1", "policies": {"f1": Thresholds(0.2, 0.5)}})
    bundle = Bundle(manifest, fitted.bundle.onnx, fitted.bundle.booster)
    scores = Scorer(bundle, threads=1).score(data.raw)
    values = (scores.isolation, scores.boosted, scores.hybrid, scores.probability)
    expected = pd.DataFrame(dict(zip(OUTPUTS, values, strict=True)), index=table["name"])
    assert len(expected) < ROWS
    assert len(np.unique(expected["hybrid_score"])) > 100
    return Trained(frame, bundle, expected)


@pytest.fixture
def settings(registry: Registry, add_version: AddVersion, trained: Trained, tmp_path: Path) -> PipelineSettings:
    registry.move("Production", add_version(trained.bundle, trained.bundle.digest))
    return PipelineSettings(  # type: ignore[call-arg]
        state_dir=tmp_path / "var", tracking_uri=registry.tracking_uri, model_name=registry.model_name
    )


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PART_ROWS", "CSV_ROWS"):
        monkeypatch.setattr(planning, name, 100)


def _in_files(frame: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    for number, first in enumerate(range(0, ROWS, 500)):
        frame.iloc[first : first + 500].to_parquet(folder / f"day-{number}.parquet", index=False)
    return folder


def _in_typed_parquet(frame: pd.DataFrame, path: Path) -> Path:
    typed = frame.assign(at=pd.to_datetime(frame["at"], format="ISO8601"), card=frame["card"].astype("category"))
    typed.to_parquet(path, index=False, row_group_size=70)
    return path


def _in_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


KINDS = pytest.mark.parametrize(
    ("write", "name"), [(_in_files, "folder"), (_in_typed_parquet, "month.parquet"), (_in_csv, "month.csv")]
)


@KINDS
def test_what_parts_are_scored_with_is_what_a_clean_table_has(
    trained: Trained, tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    """Bit for bit."""
    data = str(write(trained.frame, tmp_path / name))
    plan = make_plan(data, "out", 1, "0" * 64, CONTRACT, "")
    (source, _names), staging = find_files(data, ""), LocalObjects(tmp_path / "staging", setting="--output")
    assert keep_history(plan, plan.parts, CONTRACT, source, staging, threads=2) == ROWS
    assert keep_history(plan, plan.parts, CONTRACT, source, staging, threads=2) == 0
    assert len(plan.parts) >= ROWS // 100
    found = np.concatenate([np.load(staging.address(history_name(part))) for part in plan.parts])
    table, _report = clean(trained.frame.assign(fraud=trained.frame["fraud"].fillna("no")), CONTRACT)
    columns = [feature.name for feature in CONTRACT.history]
    expected = table.set_index("name").loc[trained.frame["name"], columns]
    np.testing.assert_array_equal(found, expected)


@KINDS
def test_scores_are_those_of_the_clean_table(
    settings: PipelineSettings, trained: Trained, tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    out = tmp_path / "out"
    scored = score(settings, str(write(trained.frame, tmp_path / name)), str(out), "local")
    trained.assert_scored(out)
    assert (scored.job["rows"], scored.job["quarantined"]) == (ROWS, 0)
    assert not (out / HISTORY_FOLDER).exists()
    assert "card_count" not in read_output(out)


def test_a_row_in_the_quarantine_is_no_event(settings: PipelineSettings, trained: Trained, tmp_path: Path) -> None:
    """Nor is a line that is none; a row needs its time and its card, even where no feature is made of them alone."""
    spoilt = trained.frame.loc[trained.frame.index.repeat(2)].reset_index(drop=True)
    bad = spoilt.index % 2 == 1
    spoilt.loc[bad, "name"] += " again"
    faults = (("amount", -1.0), ("at", None), ("at", "yesterday"), ("card", ""))
    for number, (column, value) in enumerate(faults):
        spoilt.loc[bad & (spoilt.index // 2 % 4 == number), column] = value
    path = tmp_path / "month.csv"
    spoilt.to_csv(path, index=False)
    with path.open("a") as file:
        file.write("no,row\n")
    scored = score(settings, str(path), str(tmp_path / "out"), "local")
    trained.assert_scored(tmp_path / "out")
    assert scored.job["quarantined"] == ROWS + 1
    assert scored.job["reasons"] == {
        "amount is negative": ROWS // 4,
        "at is missing": ROWS // 4,
        "at is not a date and time": ROWS // 4,
        "card is missing": ROWS // 4,
        "the line has 2 fields, not 7": 1,
    }


def test_a_table_without_what_history_is_made_of_is_refused(
    settings: PipelineSettings, trained: Trained, tmp_path: Path
) -> None:
    for name in ("at", "card"):
        trained.frame.drop(columns=name).to_parquet(tmp_path / "month.parquet")
        with pytest.raises(InvalidInput, match=f"missing column {name}"):
            score(settings, str(tmp_path / "month.parquet"), str(tmp_path / "out"), "local")


def test_a_table_without_labels_and_shops_is_scored(
    settings: PipelineSettings, trained: Trained, tmp_path: Path
) -> None:
    bare = trained.frame.drop(columns=["fraud", "shop"])
    bare.to_parquet(tmp_path / "month.parquet", index=False)
    score(settings, str(tmp_path / "month.parquet"), str(tmp_path / "out"), "local")
    found = read_output(tmp_path / "out")
    table, _report = clean(bare.assign(fraud="no"), CONTRACT)
    expected = Scorer(trained.bundle, threads=1).score(Dataset.from_frame(table, CONTRACT).raw).hybrid
    by_name = pd.Series(expected, index=table["name"])
    np.testing.assert_allclose(found["hybrid_score"], by_name[found["name"]], rtol=0, atol=2e-7)


def test_a_killed_job_is_continued(
    settings: PipelineSettings, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while history is kept, while parts are scored, and before the commit."""
    data, out = str(_in_files(trained.frame, tmp_path / "in")), tmp_path / "out"
    staging = tmp_path / ".out.scoring"
    real_save, real_score = np.save, engines.score_part

    def save(file: Any, values: Any) -> None:
        if len(list((staging / HISTORY_FOLDER).glob("[!.]*"))) == 5:
            raise KeyboardInterrupt
        real_save(file, values)

    def score_some(plan: Any, part: Any, *args: Any) -> Any:
        if part.number == 7:
            raise KeyboardInterrupt
        return real_score(plan, part, *args)

    monkeypatch.setattr(history.np, "save", save)
    with pytest.raises(KeyboardInterrupt):
        score(settings, data, str(out), "local")
    assert len(list((staging / HISTORY_FOLDER).iterdir())) == 5
    monkeypatch.setattr(history.np, "save", real_save)
    monkeypatch.setattr(engines, "score_part", score_some)
    with pytest.raises(KeyboardInterrupt):
        score(settings, data, str(out), "local")
    kept = {path: path.stat().st_mtime_ns for path in (staging / HISTORY_FOLDER).iterdir()}
    monkeypatch.setattr(engines, "score_part", real_score)
    monkeypatch.setattr(history, "compute_history", None)  # what is kept is not computed again
    scored = score(settings, data, str(out), "local")
    assert len(kept) == scored.job["parts"]
    trained.assert_scored(out)
    assert not (out / HISTORY_FOLDER).exists()


def test_the_logged_model_takes_history_as_optional_columns(trained: Trained, tmp_path: Path) -> None:
    parts = model_parts(trained.bundle, tmp_path / "bundle")
    known = {column.name: (column.type.name, column.required) for column in parts["signature"].inputs.inputs}
    assert known == {
        "amount": ("double", True),
        "kind": ("string", False),
        **{feature.name: ("double", False) for feature in CONTRACT.history},
    }
    model, example = FraudEnsemble(), parts["input_example"]
    model.load_context(SimpleNamespace(artifacts={"bundle": str(tmp_path / "bundle")}))
    assert example["card_count"].min() >= 1
    bare = model.predict(None, example[["amount", "kind"]])
    golden = [row.scores["hybrid_score"] for row in trained.bundle.manifest.golden_rows[-2:]]
    np.testing.assert_allclose(model.predict(None, example)["hybrid_score"], golden, rtol=0, atol=2e-7)
    assert (bare["hybrid_score"] != golden).any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark.*", "ignore::ResourceWarning")
def test_on_spark_scores_are_the_same(spark: Any, settings: PipelineSettings, trained: Trained, tmp_path: Path) -> None:
    data = str(_in_files(trained.frame, tmp_path / "in"))
    score(settings, data, str(tmp_path / "out"), "spark")
    trained.assert_scored(tmp_path / "out")
    assert not (tmp_path / "out" / HISTORY_FOLDER).exists()
