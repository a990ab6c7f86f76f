"""Evidently's page where it is installed, a line where it is not, and never a failure."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.simulator import simulate
from pipelines.monitoring.evidently_page import log_evidently, sides
from pipelines.monitoring.figures import Figure
from pipelines.monitoring.kept_decisions import KeptDecisions
from tests.support.creditcard import CREDITCARD, RAW_FEATURES, WATCHED
from tests.support.machine import missing

Decide = Callable[..., KeptDecisions]


class Kept:
    """A run that keeps what it is given, and has rows to compare with."""

    def __init__(self, frame: pd.DataFrame | None = None) -> None:
        self._frame = frame
        self.pages: dict[str, str] = {}

    def frame(self, _path: str) -> pd.DataFrame:
        if self._frame is None:
            raise OSError("the artifacts are unreachable")
        return self._frame

    def log_folder(self, folder: Path, _path: str) -> None:
        self.pages |= {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def known() -> Dataset:
    (chunk,) = simulate(4_000, seed=3, days=2)
    return Dataset(CREDITCARD, chunk.raw, chunk.label, np.ones(4_000), chunk.raw[:, 0])


def test_sides_have_the_same_hours_and_the_windows_shift(decide: Decide, known: Dataset, bundle: Bundle) -> None:
    current, reference = sides(decide(seed=5, drift={"V14": 2.0}), known, bundle, seed=0)
    assert list(current) == list(reference) == list(WATCHED)
    assert "Time" not in current
    assert len(current) == len(reference) == 2_000
    moved = (current.mean() - reference.mean()) / reference.std()
    assert moved.abs().idxmax() == "V14"


def test_a_night_is_compared_with_nights(decide: Decide, known: Dataset, bundle: Bundle) -> None:
    day = decide(rows=20_000, seed=5, fraud_rate=0.00173)
    current, reference = sides(day.take(day.raw[:, 0] < 6 * 3600), known, bundle, seed=0)
    spread, all_day = reference["V12"].std(), known.raw[:, RAW_FEATURES.index("V12")].mean()
    assert abs(current["V12"].mean() - reference["V12"].mean()) < 0.25 * spread
    assert abs(current["V12"].mean() - all_day) > 0.5 * spread


@pytest.mark.slow
def test_the_page_stands_beside_ours(decide: Decide, known: Dataset, bundle: Bundle, capsys: Any) -> None:
    if importlib.util.find_spec("evidently") is None:
        missing("Evidently")
    run: Any = Kept()
    judged = {name: Figure("psi", name, 0.004, None, 0.1) for name in WATCHED}
    judged["V14"] = Figure("psi", "V14", 0.4321, None, 0.1, True, True)
    decided, trained = decide(seed=5, drift={"V14": 2.0}), Kept(known.to_frame())
    assert log_evidently(run, decided, bundle, trained, judged, seed=0)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    (page,) = run.pages.values()
    assert list(run.pages) == ["evidently.html"]
    assert "V14" in page
    assert "PSI as in monitor.html" in page
    assert "0.4321" in page
    # ours, not its own: one of all columns has drifted
    assert re.search(r"Drift is detected for [\d.]+% of columns \(1 out of", page)
    assert len(page) > 1_000_000


def test_without_it_a_line_says_so(decide: Decide, bundle: Bundle, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "evidently", None)
    run: Any = Kept()
    log_evidently(run, decide(rows=50), bundle, Kept(), {}, seed=0)  # type: ignore[arg-type]
    assert capsys.readouterr().err == "no evidently.html: Evidently is not installed (requirements/evidently.txt)\n"
    assert run.pages == {}


def test_what_keeps_it_from_being_made_is_a_warning(
    decide: Decide, bundle: Bundle, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    run: Any = Kept()
    for trained in (None, Kept()):
        log_evidently(run, decide(rows=50), bundle, trained, {}, seed=0)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "the version has no run" in said
    assert "the artifacts are unreachable" in said
    assert run.pages == {}
