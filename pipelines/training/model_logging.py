"""Logging a bundle as an MLflow model, and reading bundles back from runs."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient

from ml_project.bundle import Bundle, read_bundle
from ml_project.errors import InvalidInput
from pipelines.tracking import DataPart, Run
from stores.registry import BUNDLE_PATH, DIGEST_TAG

MODEL_NAME = "refit"
TWIN = "twin"
MODEL_URI_TAG = "fraud.model_uri"

_ROOT = Path(__file__).parents[2]
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "onnxruntime", "pydantic")


def model_parts(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """The arguments with which MLflow saves a bundle, whose files are written into a folder.

    The requirements are given, not inferred: inference would find what training imports, not what the model needs.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    outputs = {
        "fraud": DataType.long,
        "hybrid_score": DataType.double,
        "threshold_used": DataType.double,
        "fraud_probability": DataType.double,
        "decision": DataType.string,
    }
    contract = bundle.manifest.contract
    kinds = {"boolean": DataType.boolean, "category": DataType.string, "timestamp": DataType.datetime}
    bundle.write(folder)
    return {
        "python_model": str(Path(__file__).with_name("pyfunc_model.py")),
        "artifacts": {"bundle": str(folder)},
        "code_paths": [str(_ROOT / "ml_project")],
        "signature": ModelSignature(
            inputs=Schema(
                [
                    # MLflow's server would make False of a boolean that is missing
                    ColSpec(AnyType(), field.name, required=False)  # type: ignore[no-untyped-call]
                    if field.type == "boolean" and not field.required
                    else ColSpec(kinds.get(field.type, DataType.double), field.name, required=field.required)
                    for field in contract.scored_fields
                ]
            ),
            outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
        ),
        "input_example": _example(bundle),
        "pip_requirements": [f"{name}=={version(name)}" for name in _REQUIREMENTS],
    }


def _example(bundle: Bundle) -> pd.DataFrame:
    """Two transactions as callers of the pyfunc give them."""
    contract, rows = bundle.manifest.contract, [row.values.tolist() for row in bundle.manifest.golden_rows[-2:]]
    if contract.plain:
        return pd.DataFrame(rows, columns=list(contract.raw_fields))
    given = [contract.transaction(row) for row in rows]
    frame = pd.DataFrame(given, columns=list(contract.raw_fields))
    of_history = contract.raw_fields[len(contract.given_names) :]
    frame[list(of_history)] = np.array(rows)[:, len(contract.given_names) :]
    for field in contract.scored_fields:
        if field.numeric:
            frame[field.name] = frame[field.name].astype(np.float64)
        elif field.type == "timestamp":
            frame[field.name] = pd.to_datetime(frame[field.name]).dt.tz_localize(None)
    return frame


def model_params(bundle: Bundle) -> dict[str, object]:
    """What tuning chose for a bundle's model: see `settings_params`."""
    return settings_params(bundle.manifest.settings)


def settings_params(settings: Mapping[str, Any]) -> dict[str, object]:
    """An ensemble's settings, one level deep: ``booster.rounds`` and so on."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def model_tags(bundle: Bundle, fitted_on: DataPart) -> dict[str, str]:
    """What a logged model says of the data that it was fitted on."""
    manifest = bundle.manifest
    return {
        "data.name": fitted_on.name,
        "data.digest": fitted_on.digest,
        "data.source": str(manifest.data["source"]),
        "contract": str(manifest.contract),
    }


def log_model(run: Run, bundle: Bundle, fitted_on: DataPart) -> str:
    """Log a bundle as a pyfunc of a run; the model's id.

    No run is active meanwhile: MLflow would give the model all figures of the run, which another model earned.
    """
    import mlflow

    policy = bundle.manifest.policy
    tags = {**model_tags(bundle, fitted_on), DIGEST_TAG: bundle.digest}
    model = run.add_model(MODEL_NAME, "refit", {**model_params(bundle), "policy": policy}, tags)
    with TemporaryDirectory() as scratch:
        mlflow.pyfunc.log_model(name=MODEL_NAME, model_id=model, **model_parts(bundle, Path(scratch) / "bundle"))
    return model


def read_logged_model(client: MlflowClient, uri: str, digest: str | None = None) -> tuple[Bundle, str]:
    """A logged model's bundle and its signature as JSON, as a gateway or a caller of the pyfunc would fetch them.

    Parameters
    ----------
    uri : str
        ``models:/m-...``, as `log_model` gives it.
    digest : str or None
        What the bundle's files must hash to.

    Raises
    ------
    InvalidBundle
        When its files are not a bundle, or not the one of this digest.
    InvalidInput
        When there is no such model.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        # Not the "models:/" address: MLflow resolves that by the process's global server, whatever the arguments.
        location = client.get_logged_model(uri.rsplit("/", 1)[-1]).artifact_location
        with TemporaryDirectory() as scratch:
            file, folder = (
                download_artifacts(
                    artifact_uri=f"{location}/{part}", dst_path=scratch, tracking_uri=client.tracking_uri
                )
                for part in ("MLmodel", BUNDLE_PATH)
            )
            signature = Model.load(file).signature
            bundle = read_bundle(Path(folder), digest)
    except (MlflowException, OSError) as error:
        raise InvalidInput(f"The model {uri} cannot be read: {error}", "Run the step threshold again.") from error
    return bundle, json.dumps(signature.to_dict() if signature else {}, sort_keys=True)


def read_run_bundle(run: Run, path: str) -> Bundle:
    """A bundle that a run holds as an artifact folder."""
    with TemporaryDirectory() as scratch:
        return read_bundle(run.fetch(path, Path(scratch)))


def log_bundle(run: Run, bundle: Bundle, path: str) -> None:
    """Store a bundle as an artifact folder."""
    with TemporaryDirectory() as scratch:
        bundle.write(Path(scratch))
        run.log_folder(Path(scratch), path)
