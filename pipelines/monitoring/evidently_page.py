"""Evidently's drift report as an extra beside ``monitor.html``: it draws the distributions, and judges by our figures.

Its own PSI has bins of equal width, so that a heavy tail alone makes it large: two pages would contradict each other.
"""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.baseline import HOURS, hours_of, watched_columns
from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.scorer import Scorer
from pipelines.console import error_console
from pipelines.monitoring.figures import Figure
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.tracking import Run
from pipelines.training.train import TEST_ROWS

ROWS: Final = 5_000
"""Most rows of each side: every histogram goes into the page."""

PAGE: Final = "evidently.html"


def log_evidently(
    run: Run,
    rows: KeptDecisions,
    bundle: Bundle,
    trained: Run | None,
    judged: Mapping[str, Figure],
    seed: int,
) -> bool:
    """Add the page to a monitoring run; where that fails, a line on the terminal says why, and the run continues.

    Parameters
    ----------
    rows : KeptDecisions
        The window's decisions.
    trained : Run or None
        The pipeline run of the version, which keeps the rows that Evidently compares with.
    judged : mapping
        The PSI of each column, with its limit.

    Returns
    -------
    bool
        Whether the page is there.
    """
    if importlib.util.find_spec("evidently") is None:
        error_console.print(f"no {PAGE}: Evidently is not installed (requirements/evidently.txt)")
        return False
    try:
        if trained is None:
            raise InvalidInput("the version has no run")
        known = Dataset.from_frame(trained.frame(TEST_ROWS), bundle.manifest.contract)
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / PAGE
            write_page(path, *sides(rows, known, bundle, seed), judged)
            run.log_folder(Path(scratch), "")
    except Exception as error:  # an extra: no fault of it may fail the monitoring run
        error_console.print(f"[bold yellow]warning:[/bold yellow] no {PAGE}: {type(error).__name__}: {error}")
        return False
    return True


def sides(rows: KeptDecisions, known: Dataset, bundle: Bundle, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The window's columns, and those of known rows drawn with the window's mix of hours (docs/adr/0011-drift.md)."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows), min(ROWS, len(rows)), p=rows.weight / rows.rows)
    contract, transform = bundle.manifest.contract, bundle.manifest.transform
    window, features = transform(rows.raw[chosen]), transform(known.raw)
    hours = hours_of(contract, window), hours_of(contract, features)
    drawn = rng.choice(len(features), len(chosen), p=_by_hour(*hours, known.weight))
    score = Scorer(bundle, threads=1).score_features(features[drawn]).hybrid
    current = pd.DataFrame(watched_columns(contract, rows.raw[chosen], window, rows.hybrid[chosen]))
    return current, pd.DataFrame(watched_columns(contract, known.raw[drawn], features[drawn], score))


def _by_hour(wanted: NDArray[np.int64], there: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n,) with which drawn rows have the wanted mix of hours, as far as each hour has rows."""
    mix = np.bincount(wanted, minlength=HOURS).astype(np.float64)
    held = np.bincount(there, weights=weight, minlength=HOURS)
    probability: NDArray[np.float64] = weight * np.divide(mix, held, out=np.zeros(HOURS), where=held > 0)[there]
    if not probability.any():
        raise InvalidInput("no known row is in the window's hours")
    probability /= probability.sum()
    return probability


def write_page(path: Path, current: pd.DataFrame, reference: pd.DataFrame, judged: Mapping[str, Figure]) -> None:
    """Evidently's drift page of two frames with the same columns, which are drifted where a figure says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses deprecated names of other libraries
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
        from evidently.legacy.core import ColumnType
        from evidently.presets import DataDriftPreset

        def judge(_known: pd.Series, column: pd.Series, _kind: object, _limit: float) -> tuple[float, bool]:
            figure = judged[str(column.name)]
            return figure.value, figure.breached

        method = StatTest("monitor_psi", "PSI as in monitor.html", [ColumnType.Numerical])
        register_stattest(method, judge)
        limits = {name: figure.high for name, figure in judged.items()}
        shape = DataDefinition(numerical_columns=list(current.columns))
        data = [Dataset.from_pandas(frame, data_definition=shape) for frame in (current, reference)]
        result = Report([DataDriftPreset(num_method=method, per_column_threshold=limits)]).run(*data)
        result.save_html(str(path))
