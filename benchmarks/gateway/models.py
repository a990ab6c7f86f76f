"""The models that MLflow's own server serves: the ensemble as a user would first write it, and our registered form."""

import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel

from benchmarks.gateway.reference import Reference
from ml_project.simulator import FIELDS
from pipelines.training.model_logging import model_parts


class PlainEnsemble(PythonModel):
    """Features by pandas, scikit-learn, then XGBoost, blended."""

    def __init__(self, reference: Reference) -> None:
        ensemble, manifest = reference.ensemble, reference.bundle.manifest
        self.forest, self.booster = ensemble.forest, ensemble.booster
        self.map, self.weight = (ensemble.isolation_map.low, ensemble.isolation_map.high), ensemble.blend_weight
        amount = manifest.scales["amount_zscore"]
        self.amount, self.threshold = (amount.mean, amount.std), manifest.thresholds.alert

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        features = model_input[list(FIELDS)].copy()
        components = features[[f"V{number}" for number in range(1, 29)]]
        features["Time"] = features["Time"] % 86_400 / 3600
        features["amount_zscore"] = (features["Amount"] - self.amount[0]) / self.amount[1]
        features["amount_log"] = np.log1p(features["Amount"])
        features["v1_v2_ratio"] = features["V1"] / features["V2"]
        features["high_value"] = (features["Amount"] > 1000).astype(float)
        features["variance_all"] = components.var(axis=1, ddof=0)
        features["max_abs_v"] = components.abs().max(axis=1)
        features["mean_abs_v"] = components.abs().mean(axis=1)
        values = features.to_numpy(dtype=np.float32)
        low, high = self.map
        isolation = np.clip((-self.forest.score_samples(values) - low) / (high - low), 0, 1)
        hybrid = self.weight * isolation + (1 - self.weight) * self.booster.inplace_predict(values)
        return pd.DataFrame({"hybrid_score": hybrid, "fraud": (hybrid >= self.threshold).astype(int)})


def save_plain(reference: Reference, folder: Path) -> None:
    """Save the plain one as a user would, pickled."""
    example = pd.DataFrame(reference.raw[:2], columns=list(FIELDS))
    model = PlainEnsemble(reference)
    mlflow.pyfunc.save_model(
        folder,
        python_model=model,
        signature=infer_signature(example, model.predict(None, example)),
        pip_requirements=["mlflow"],
    )


def save_ours(reference: Reference, folder: Path) -> None:
    """Save the bundle as `promote` registers it."""
    mlflow.pyfunc.save_model(folder, **model_parts(reference.bundle, folder.with_suffix(".bundle")))


def invocations(reference: Reference) -> list[bytes]:
    """Transactions as MLflow's server takes them."""
    rows = reference.raw[:1_000].tolist()
    return [json.dumps({"dataframe_split": {"columns": FIELDS, "data": [row]}}).encode() for row in rows]
