"""The bundle as an MLflow pyfunc, logged by models-from-code: this file, the ml_project folder and three data files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from ml_project.columns import EXPECTED, raw_column
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.policies import DECISIONS, decide_all
from ml_project.scorer import load_scorer


class FraudEnsemble(PythonModel):
    """Scores raw transactions through the one scorer that the gateway uses too."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the bundle and replay its golden rows."""
        self._scorer = load_scorer(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Scores and decisions, one row per transaction, columns as in the gateway's answer.

        Raises
        ------
        InvalidInput
            When a value is missing, not finite, beyond the range that gateway and `score` take, or below 0 where it
            cannot be.
        """
        contract = self._scorer.contract
        raw = _raw(contract, model_input)
        bad = contract.unusable(raw)
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            more = int(bad.any(axis=1).sum()) - 1
            also = f", and {more} more rows are unusable" if more else ""
            raise InvalidInput(
                f"Row {row}: {contract.raw_fields[column]} is {raw[row, column]}, "
                f"{contract.fault(column, raw[row, column])}{also}.",
                "Correct or leave out such rows: trees would score them silently.",
            )
        scores = self._scorer.score(raw)
        thresholds = self._scorer.thresholds
        decisions = decide_all(scores.hybrid, thresholds)
        return pd.DataFrame(
            {
                "fraud": (decisions > 0).astype(np.int64),
                "hybrid_score": scores.hybrid,
                "threshold_used": thresholds.alert,
                "fraud_probability": scores.probability,
                "decision": [DECISIONS[place].value for place in decisions.tolist()],
            },
            index=model_input.index,
        )


def _raw(contract: Contract, given: pd.DataFrame) -> NDArray[np.float64]:
    """Raw transactions (n, fields) from columns of the contract's types."""
    if contract.plain:
        return given[list(contract.raw_fields)].to_numpy(dtype=np.float64)
    raw = np.full((len(given), len(contract.raw_fields)), np.nan)
    for place, field in enumerate(contract.scored_fields):
        if field.required or field.name in given:
            try:
                raw[:, place] = raw_column(field, pa.Array.from_pandas(given[field.name]))
            except (TypeError, pa.ArrowException) as error:
                said = f"Column {field.name} holds {given[field.name].dtype}."
                raise InvalidInput(said, f"Give {EXPECTED[field.type]}.") from error
    return raw


set_model(FraudEnsemble())
