"""Transactions to train on, and a finished pipeline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml_project.simulator import simulate
from pipelines.promotion.promote import Promotion
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from pipelines.training.train import Measurement
from tests.support.creditcard import LABEL, RAW_FEATURES
from tests.support.processes import clean_environment

BANK_ROWS = 12_000
"""Few, and yet with frauds enough in the test part for the gate to judge by."""


def transactions(rows: int, seed: int) -> pd.DataFrame:
    """Simulated transactions, 1.5 % of them frauds, as a bank's own file would hold them."""
    chunks = list(simulate(rows, seed=seed, fraud_rate=0.015))
    frame = pd.DataFrame(np.concatenate([chunk.raw for chunk in chunks]), columns=list(RAW_FEATURES))
    return frame.assign(**{LABEL: np.concatenate([chunk.label for chunk in chunks])})


@dataclass(frozen=True)
class Execution:
    """A finished pipeline and what it was given."""

    settings: PipelineSettings
    run: Run
    measured: Measurement
    promotion: Promotion


def up_environment(state: Path) -> dict[str, str]:
    """The environment of an `up` over a state folder."""
    return clean_environment(FRAUD_STATE_DIR=str(state), MLFLOW_TRACKING_URI="")
