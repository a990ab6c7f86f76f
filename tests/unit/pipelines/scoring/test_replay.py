"""A month of kept decisions under another version, from the store and from its exports."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from pipelines.monitoring.window import Window
from pipelines.scoring.replay import run_replay
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionRecord, DecisionStore, LabelItem, migrate, open_engine
from stores.registry import Registry
from tests.support.creditcard import CREDITCARD, KEPT, RAW_FEATURES
from tests.unit.stores.conftest import AddVersion

START = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = Window(START, START + timedelta(days=31))


@pytest.fixture
def stricter(bundle: Bundle, settings: PipelineSettings, add_version: AddVersion) -> int:
    """Version 2: the same model, which declines nothing and reviews what the old one declined."""
    policies = {"f1": Thresholds(bundle.manifest.thresholds.decline, 2.0)}
    changed = Bundle(bundle.manifest.model_copy(update={"policies": policies}), bundle.onnx, bundle.booster)
    return add_version(changed, changed.digest)


@pytest.fixture
def kept(settings: PipelineSettings, frame: pd.DataFrame, expected: pd.DataFrame, small_scorer: Scorer) -> pd.DataFrame:
    """The first 300 transactions as version 1 decided them; the declined ones turned out to be frauds."""
    few = frame.head(300).join(expected.head(300), rsuffix="_")
    engine = open_engine(settings.decisions_url)
    migrate(engine)
    store = DecisionStore(engine)
    thresholds = small_scorer.thresholds
    records = [
        DecisionRecord(
            prediction_id=f"00000000-0000-7000-8000-{row:012x}",
            received_at=START + timedelta(minutes=row),
            contract=KEPT,
            inputs=tuple(few.loc[row, list(RAW_FEATURES)].astype(float)),
            isolation_score=few.isolation_score[row],
            boosted_score=few.boosted_score[row],
            hybrid_score=few.hybrid_score[row],
            fraud_probability=few.fraud_probability[row],
            alert_threshold=thresholds.alert,
            decline_threshold=thresholds.decline,
            decision=few.decision[row],
            model_version="1",
            bundle_digest="d" * 64,
            latency_ms=1.0,
            request_id="r",
        )
        for row in range(300)
    ]
    store.add(records)
    declined = np.flatnonzero(few["decision"] == "DECLINE").tolist()
    store.label([LabelItem(label=1, prediction_id=records[row].prediction_id) for row in declined], "anna")
    engine.dispose()
    return few


def test_the_same_version_changes_nothing(settings: PipelineSettings, kept: pd.DataFrame) -> None:
    found = run_replay(settings, MONTH, None, None)
    assert (found.version, found.replayed.rows, found.replayed.changed) == (1, 300, 0)


def test_changes_are_counted_with_amounts_and_frauds(
    settings: PipelineSettings, kept: pd.DataFrame, stricter: int, registry: Registry
) -> None:
    found = run_replay(settings, MONTH, None, stricter)
    metrics = found.replayed.metrics
    declined, reviewed = kept["decision"] == "DECLINE", kept["decision"] == "REVIEW"
    assert declined.sum() > 2
    assert found.replayed.changed == declined.sum() + reviewed.sum()
    assert metrics["rows_decline_to_review"] == declined.sum()
    assert metrics["rows_review_to_approve"] == reviewed.sum()
    assert metrics["amount_decline_to_review"] == pytest.approx(kept["Amount"][declined].sum())
    assert (metrics["frauds_decline_before"], metrics["frauds_review_after"]) == (declined.sum(), declined.sum())
    assert metrics["rows_approve_after"] == 300 - declined.sum()
    assert found.replayed.versions == {"1": 300}


def test_exports_of_a_purge_are_as_good(
    settings: PipelineSettings, kept: pd.DataFrame, stricter: int, tmp_path: Path
) -> None:
    there = run_replay(settings, MONTH, None, stricter).replayed.metrics
    engine = open_engine(settings.decisions_url)
    DecisionStore(engine).export(CREDITCARD, START + timedelta(days=40), tmp_path / "exports")
    engine.dispose()
    assert run_replay(settings, MONTH, str(tmp_path / "exports"), stricter).replayed.metrics == there
    later = Window(START + timedelta(minutes=200), MONTH.until)
    assert run_replay(settings, later, str(tmp_path / "exports"), stricter).replayed.rows == 100


def test_what_is_no_export_is_named(settings: PipelineSettings, parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no decisions-\*\.parquet"):
        run_replay(settings, MONTH, str(tmp_path), None)
    (tmp_path / "decisions-1.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidInput, match=r"decisions-1\.parquet: not a complete Parquet file"):
        run_replay(settings, MONTH, str(tmp_path), None)
    with pytest.raises(InvalidInput, match="There is no decision database"):
        run_replay(settings, MONTH, None, None)
