"""The pyfunc refuses what gateway and `score` refuse: a score for it would be a number without meaning."""

import numpy as np
import pandas as pd
import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from ml_project.scorer import Scorer
from pipelines.training.pyfunc_model import FraudEnsemble
from tests.support.creditcard import RAW_FEATURES


class Context:
    """What MLflow hands to a model that it loads."""

    def __init__(self, folder: str) -> None:
        self.artifacts = {"bundle": folder}


@pytest.fixture
def model(bundle: Bundle, tmp_path) -> FraudEnsemble:
    bundle.write(tmp_path / "bundle")
    loaded = FraudEnsemble()
    loaded.load_context(Context(str(tmp_path / "bundle")))
    return loaded


@pytest.fixture
def rows(small_scorer: Scorer) -> pd.DataFrame:
    golden = small_scorer.bundle.manifest.golden_rows
    return pd.DataFrame([row.raw for row in golden], columns=list(RAW_FEATURES))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("Amount", -1.0, "Amount is -1.0, negative"),
        ("Time", -0.5, "Time is -0.5, negative"),
        ("V3", 1e16, "V3 is 1e+16, above 1e"),
        ("V3", np.inf, "V3 is inf, not finite"),
        ("V3", np.nan, "V3 is nan, not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    model: FraudEnsemble, rows: pd.DataFrame, column: str, value: float, said: str
) -> None:
    assert len(model.predict(None, rows)) == len(rows)
    rows.loc[1, column] = value
    with pytest.raises(InvalidInput, match=rf"Row 1: {said.replace('+', '.')}"):
        model.predict(None, rows)
