"""Files that people would score."""

from pathlib import Path

import pandas as pd

from ml_project.simulator import simulate
from tests.support.creditcard import PCA_COMPONENTS, RAW_FEATURES


def transactions(rows: int, seed: int = 11) -> pd.DataFrame:
    """Simulated transactions; one in a hundred is a fraud."""
    (chunk,) = simulate(rows, seed=seed, fraud_rate=0.01)
    return pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES))


def write_csv(folder: Path, rows: int, bad: dict[int, str] | None = None) -> Path:
    """A CSV file; ``bad`` puts a text into a component of rows, counted from 0."""
    frame = transactions(rows).astype({PCA_COMPONENTS[0]: object})
    for row, text in (bad or {}).items():
        frame.loc[row, PCA_COMPONENTS[0]] = text
    path = folder / "transactions.csv"
    frame.to_csv(path, index=False)
    return path


def write_parquet(folder: Path, rows: int) -> Path:
    path = folder / "transactions.parquet"
    transactions(rows).to_parquet(path)
    return path
