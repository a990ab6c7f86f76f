import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.bundle import Bundle, GoldenRow
from ml_project.contract_parts import OUTPUTS
from ml_project.errors import InvalidBundle
from ml_project.fitting import Fitted
from ml_project.policies import DECISIONS, NEVER, Decision, Thresholds, decide, decide_all
from ml_project.scorer import BATCH_ROWS, Scorer, golden_rows, load_scorer
from ml_project.split import TimeSplit
from tests.support.machine import ROOT


def with_golden(bundle: Bundle, *rows: GoldenRow) -> Scorer:
    manifest = bundle.manifest.model_copy(update={"golden_rows": rows})
    return Scorer(Bundle(manifest, bundle.onnx, bundle.booster), threads=1)


def changed(row: GoldenRow, **scores: float) -> GoldenRow:
    return GoldenRow(raw=row.raw, scores=row.scores | scores)


def test_scores_equal_the_reference(small_scorer: Scorer, twin: Fitted, split: TimeSplit):
    scores, reference = small_scorer.score(split.test.raw), twin.score(split.test)
    np.testing.assert_allclose(scores.isolation, reference.isolation, atol=1e-5)
    np.testing.assert_allclose(scores.boosted, reference.boosted, atol=1e-5)
    np.testing.assert_allclose(scores.hybrid, reference.hybrid, atol=1e-5)
    np.testing.assert_allclose(scores.probability, reference.probability(twin.calibrator), atol=1e-5)
    assert scores.row(3) == dict(
        zip(OUTPUTS, (scores.isolation[3], scores.boosted[3], scores.hybrid[3], scores.probability[3]), strict=True)
    )


def test_golden_rows_replay_exactly(bundle: Bundle, bundle_folder: Path, small_scorer: Scorer):
    assert small_scorer.replay_golden_rows() <= 1e-7
    assert load_scorer(bundle_folder, bundle.digest).thresholds == Thresholds(0.3, 0.7)


def test_golden_rows_are_what_the_scorer_says(small_scorer: Scorer, split: TimeSplit):
    rows = golden_rows(small_scorer, split.test.raw[:3])
    np.testing.assert_array_equal([row.raw for row in rows], split.test.raw[:3])
    assert [row.scores for row in rows] == [small_scorer.score(split.test.raw[:3]).row(i) for i in range(3)]


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("index", [0, -1])
def test_tampered_golden_rows_are_found(bundle: Bundle, name: str, index: int):
    rows = list(bundle.manifest.golden_rows)
    rows[index] = changed(rows[index], **{name: rows[index].scores[name] + 2e-5})
    with pytest.raises(InvalidBundle, match="score up to 2e-05 away from what"):
        with_golden(bundle, *rows).replay_golden_rows()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_score_that_is_no_number_is_found_wherever_it_stands(bundle: Bundle, value: float, index: int):
    rows = list(bundle.manifest.golden_rows)
    rows[index] = changed(rows[index], fraud_probability=value)
    with pytest.raises(InvalidBundle, match="away from what training recorded"):
        with_golden(bundle, *rows).replay_golden_rows()


def test_golden_rows_of_another_shape_are_refused(bundle: Bundle):
    row = bundle.manifest.golden_rows[0]
    with pytest.raises(InvalidBundle, match="no golden rows"):
        with_golden(bundle).replay_golden_rows()
    for bad in (
        GoldenRow(raw=row.raw[:-1], scores=row.scores),
        GoldenRow(raw=row.raw, scores={}),
        changed(row, other=1.0),
    ):
        with pytest.raises(InvalidBundle, match="fields or scores do not match"):
            with_golden(bundle, row, bad).replay_golden_rows()


def test_a_draft_without_thresholds_does_not_load(twin: Fitted, tmp_path: Path):
    twin.bundle.write(tmp_path / "draft")
    with pytest.raises(InvalidBundle, match="no thresholds yet"):
        load_scorer(tmp_path / "draft")


def test_a_transaction_scores_the_same_alone_and_among_others(bundle: Bundle, split: TimeSplit):
    """To the last digit, as single ones are scored. Whole tables are shared out among threads, cut at any row."""
    scorer = Scorer(bundle, threads=2)
    raw = split.test.raw[: 2 * BATCH_ROWS]
    alone = [scorer.score(raw[row : row + 1]) for row in range(len(raw))]
    whole = scorer.score(raw)
    for name in ("isolation", "boosted", "hybrid", "probability"):
        one_by_one = np.concatenate([getattr(each, name) for each in alone])
        np.testing.assert_allclose(getattr(whole, name), one_by_one, atol=1e-6, rtol=0)
        for size in (2, 3, 5, 16, BATCH_ROWS - 1):
            some = np.concatenate([getattr(scorer.score(raw[i : i + size]), name) for i in range(0, len(raw), size)])
            np.testing.assert_array_equal(some, one_by_one)


def test_no_rows_give_no_scores(small_scorer: Scorer):
    assert small_scorer.score(np.empty((0, 30))).hybrid.shape == (0,)


def test_threads_do_not_disturb_each_other(bundle: Bundle, split: TimeSplit):
    scorer = Scorer(bundle, threads=2)
    expected = Scorer(bundle, threads=1).score(split.test.raw).hybrid

    def work(number: int) -> bool:
        step = (1, 7, 40, 200)[number % 4]
        found = [scorer.score(split.test.raw[i : i + step]).hybrid for i in range(0, 400, step)]
        return bool(np.allclose(np.concatenate(found), expected[: sum(map(len, found))], atol=1e-6, rtol=0))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.parametrize(
    ("hybrid", "decision"),
    [
        (np.nextafter(0.3, 0), Decision.APPROVE),
        (0.3, Decision.REVIEW),
        (np.nextafter(0.7, 0), Decision.REVIEW),
        (0.7, Decision.DECLINE),
        (0.0, Decision.APPROVE),
        (1.0, Decision.DECLINE),
    ],
)
def test_decisions_at_the_thresholds(hybrid: float, decision: Decision):
    assert decide(hybrid, Thresholds(0.3, 0.7)) is decision


@given(st.floats(0, 1))
def test_decisions_that_are_never_taken(hybrid: float):
    assert decide(hybrid, Thresholds(NEVER, NEVER)) is Decision.APPROVE
    assert decide(hybrid, Thresholds(0.0, NEVER)) is Decision.REVIEW
    assert decide(hybrid, Thresholds(0.0, 0.0)) is Decision.DECLINE


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (0.7, 0.3), (0.0, NEVER), (NEVER, NEVER), (0.5, 0.5)])
def test_many_decisions_are_those_of_each(thresholds: tuple[float, float]):
    limits = Thresholds(*thresholds)
    hybrid = np.array([0.0, np.nextafter(0.3, 0), 0.3, 0.5, 0.7, np.nextafter(0.7, 1), 1.0, np.nan])
    decisions = decide_all(hybrid, limits)
    assert decisions.dtype == np.int8
    assert [DECISIONS[place] for place in decisions] == [decide(score, limits) for score in hybrid.tolist()]
    assert DECISIONS == (Decision.APPROVE, Decision.REVIEW, Decision.DECLINE)
    assert decide_all(np.empty(0), limits).tolist() == []


@pytest.mark.parametrize("graph", [b"", b"not a graph", b"\x00" * 1000])
def test_a_corrupt_graph_is_refused(bundle: Bundle, graph: bytes):
    with pytest.raises(InvalidBundle, match="The graph cannot be used"):
        Scorer(Bundle(bundle.manifest, graph, bundle.booster))


def test_a_truncated_graph_is_refused(bundle: Bundle):
    with pytest.raises(InvalidBundle):
        Scorer(Bundle(bundle.manifest, bundle.onnx[: len(bundle.onnx) // 2], b""))


def sigmoid_graph(columns: int, outputs: tuple[str, ...], name: str = "features") -> bytes:
    def tensor(name: str, width: int) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])

    nodes = [onnx.helper.make_node("Sigmoid", [name], [output]) for output in outputs]
    graph = onnx.helper.make_graph(nodes, "g", [tensor(name, columns)], [tensor(o, columns) for o in outputs])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (sigmoid_graph(30, OUTPUTS), "not 37 features"),
        (sigmoid_graph(37, OUTPUTS[:2]), "The graph gives isolation_score, boosted_score, not"),
        (sigmoid_graph(37, OUTPUTS, "inputs"), "takes inputs"),
    ],
)
def test_a_graph_of_another_shape_is_refused(bundle: Bundle, graph: bytes, message: str):
    with pytest.raises(InvalidBundle, match=message):
        Scorer(Bundle(bundle.manifest, graph, b""))


def test_scoring_reports_to_nobody(bundle_folder: Path, tmp_path: Path):
    """ONNX Runtime's makers would hear of it; what it has to tell them lies in the home directory until they do."""
    program = "import pathlib, sys, ml_project.scorer as it; it.load_scorer(pathlib.Path(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", program, str(bundle_folder)],
        env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert list(tmp_path.rglob("*onnxruntime*")) == []


def test_a_scorer_keeps_its_bundle(bundle: Bundle, small_scorer: Scorer):
    assert small_scorer.bundle is bundle
    with pytest.raises(ValueError, match="frozen"):
        bundle.manifest.policy = "cost"
