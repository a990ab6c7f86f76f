"""The one way from raw transactions to scores: gateway, pyfunc and Spark all call it; `policies` decides by them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ml_project.bundle import Bundle, GoldenRow, read_bundle
from ml_project.contract import Contract
from ml_project.contract_parts import OUTPUTS
from ml_project.errors import InvalidBundle
from ml_project.graph_check import check_graph
from ml_project.policies import Thresholds

PARITY_TOLERANCE = 1e-5
"""Largest difference allowed between two libraries' scores of one row."""

BATCH_ROWS = 128
"""From this many rows on, all cores work on a call; below, waking them costs more than the trees do."""

_LANES = 4
"""ONNX Runtime takes so many logarithms at once, and the rest of them in another way, whose last digit may differ.

Calls are filled up to it, so that a transaction scores the same alone and among others.
"""


@dataclass(frozen=True)
class Scores:
    """Scores of n transactions, each of shape (n,), float32 values as float64.

    Decisions compare exactly these numbers with the thresholds, so that what a client sees is what was decided on.
    """

    isolation: NDArray[np.float64]
    boosted: NDArray[np.float64]
    hybrid: NDArray[np.float64]
    probability: NDArray[np.float64]

    def row(self, index: int) -> dict[str, float]:
        """One transaction's scores by output name."""
        values = (self.isolation, self.boosted, self.hybrid, self.probability)
        return {name: float(scores[index]) for name, scores in zip(OUTPUTS, values, strict=True)}


class Scorer:
    """An immutable scorer over one bundle; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
        Contents that were checked against the registry's digest.
    threads : int
        Cores for batches; 0 takes all. Single rows always use one.

    Raises
    ------
    InvalidBundle
        When the graph holds what ours never do, cannot be loaded or takes other inputs.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self.contract: Contract = bundle.manifest.contract
        self._features = len(self.contract.features)
        check_graph(bundle.onnx, self._features)
        self.bundle = bundle
        self._transform = bundle.manifest.transform
        self._single = _session(bundle.onnx, 1, self._features)
        self._threads = threads

    @cached_property
    def thresholds(self) -> Thresholds:
        """Thresholds of the bundle's policy."""
        return self.bundle.manifest.thresholds

    @cached_property
    def _batch(self) -> ort.InferenceSession:
        return self._single if self._threads == 1 else _session(self.bundle.onnx, self._threads, self._features)

    def score(self, raw: NDArray[np.float64]) -> Scores:
        """Scores of raw transactions, shape (n, fields) in the order of ``contract.raw_fields``."""
        return self.score_features(self._transform(raw))

    def score_features(self, features: NDArray[np.float32]) -> Scores:
        """Scores of computed features, shape (n, f)."""
        rows = len(features)
        session = self._single if rows < BATCH_ROWS else self._batch
        if rows % _LANES:
            features = np.concatenate([features, features[-1:].repeat(-rows % _LANES, axis=0)])
        outputs = session.run(None, {"features": features})
        return Scores(*(output[:rows, 0].astype(np.float64) for output in outputs))

    def replay_golden_rows(self) -> float:
        """Score the manifest's golden rows again; the largest difference.

        Raises
        ------
        InvalidBundle
            When one differs by more than ``PARITY_TOLERANCE``: this machine would decide otherwise than training did.
        """
        rows = self.bundle.manifest.golden_rows
        if not rows:
            raise InvalidBundle("The bundle has no golden rows.", "Train again.")
        if any(len(row.raw) != len(self.contract.raw_fields) or set(row.scores) != set(OUTPUTS) for row in rows):
            raise InvalidBundle("The golden rows' fields or scores do not match this software's.", "Train again.")
        scores = self.score(np.array([row.values for row in rows]))
        apart = [scores.row(i)[name] - expected for i, row in enumerate(rows) for name, expected in row.scores.items()]
        worst = float(np.abs(apart).max())  # NaN where any is NaN, as Python's max is not
        if not worst <= PARITY_TOLERANCE:
            raise InvalidBundle(
                f"Golden rows score up to {worst:.2g} away from what training recorded (allowed {PARITY_TOLERANCE:g}).",
                "The bundle or this machine's ONNX Runtime is not what was tested; keep the old version.",
            )
        return worst


def golden_rows(scorer: Scorer, raw: NDArray[np.float64]) -> tuple[GoldenRow, ...]:
    """Transactions with the scores that the fitted bundle gives them."""
    scores = scorer.score(raw)
    known = ([None if np.isnan(value) else value for value in row] for row in raw.tolist())
    return tuple(GoldenRow(raw=tuple(row), scores=scores.row(i)) for i, row in enumerate(known))


def load_scorer(folder: Path, expected_digest: str | None = None, threads: int = 0) -> Scorer:
    """Read a bundle and check it; see `verified_scorer`.

    Raises
    ------
    InvalidBundle
        See `read_bundle` and `verified_scorer`.
    """
    return verified_scorer(read_bundle(folder, expected_digest), threads)


def verified_scorer(bundle: Bundle, threads: int = 0) -> Scorer:
    """A scorer that is fit to answer: its bundle has thresholds, and its golden rows score as in training.

    Raises
    ------
    InvalidBundle
        When that is not so.
    """
    if bundle.manifest.policy not in bundle.manifest.policies:
        raise InvalidBundle("The bundle has no thresholds yet.", "Run the step threshold.")
    scorer = Scorer(bundle, threads)
    scorer.replay_golden_rows()
    return scorer


def _session(model: bytes, threads: int, features: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # idle threads that spin take the cores from the work between two calls: 200,000 rows took 2.9 s with, 1.7 s without
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # without the fallback, which prints what is wrong and tries the only provider once more
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # the runtime raises many unrelated types for a bad graph
        raise InvalidBundle(f"ONNX Runtime cannot load the graph: {error}", "Publish the version again.") from error
    inputs = [(value.name, value.type, *value.shape[1:]) for value in session.get_inputs()]
    if inputs != [("features", "tensor(float)", features)]:
        raise InvalidBundle(f"The graph takes inputs {inputs}, not {features} features.", "Train again.")
    outputs = tuple(value.name for value in session.get_outputs())
    if outputs != OUTPUTS:
        raise InvalidBundle(f"The graph gives {', '.join(outputs)}, not {', '.join(OUTPUTS)}.", "Train again.")
    return session
