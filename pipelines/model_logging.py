"""Logging a bundle as an MLflow model, and reading bundles back from runs."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from ml_project.bundle import Bundle, read_bundle
from ml_project.schema import RAW_FEATURES
from pipelines.tracking import Run

MODEL_NAME = "ensemble"
TWIN = "twin"
MODEL_URI_TAG = "fraud.model_uri"

_ROOT = Path(__file__).parent.parent
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "onnxruntime", "pydantic")


def log_model(run: Run, bundle: Bundle, tracking_uri: str) -> str:
    """Log a bundle as a pyfunc in a run; the model's URI.

    The requirements are given, not inferred: inference would import everything and find what training used.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    outputs = {
        "fraud": DataType.long,
        "hybrid_score": DataType.double,
        "threshold_used": DataType.double,
        "fraud_probability": DataType.double,
        "decision": DataType.string,
    }
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.double, name) for name in RAW_FEATURES]),
        outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
    )
    example = pd.DataFrame([row.raw for row in bundle.manifest.golden_rows[-2:]], columns=list(RAW_FEATURES))
    mlflow.set_tracking_uri(tracking_uri)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        bundle.write(folder)
        with mlflow.start_run(run_id=run.id):
            logged = mlflow.pyfunc.log_model(
                name=MODEL_NAME,
                python_model=str(_ROOT / "pipelines" / "pyfunc_model.py"),
                artifacts={"bundle": str(folder)},
                code_paths=[str(_ROOT / "ml_project")],
                signature=signature,
                input_example=example,
                pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            )
    return str(logged.model_uri)


def read_run_bundle(run: Run, path: str) -> Bundle:
    """A bundle that a run holds as an artifact folder."""
    with TemporaryDirectory() as scratch:
        return read_bundle(run.fetch(path, Path(scratch)))


def log_bundle(run: Run, bundle: Bundle, path: str) -> None:
    """Store a bundle as an artifact folder."""
    with TemporaryDirectory() as scratch:
        bundle.write(Path(scratch))
        run.log_folder(Path(scratch), path)
