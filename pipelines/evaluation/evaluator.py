"""The figures of `train` for any registered version on any labelled table, through ``mlflow.models.evaluate``.

``mlflow.models.evaluate("models:/fraud-ensemble@Production", table, targets=LABEL, model_type="fraud")`` finds it by
the entry point ``mlflow.model_evaluator`` of pyproject.toml. The table is read as `ingest` reads one; MLflow ties the
figures to the version's logged model and to the data.

MLflow imports this file with its own evaluators, whatever a process is about: what costs time is imported when it is
called.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mlflow.models import EvaluationResult
from mlflow.models.evaluation import ModelEvaluator

MODEL_TYPE: Final = "fraud"
_CLASSIFIER: Final = "classifier"
"""MLflow asks every evaluator about these: models of other software are none of this one's business."""

_FOLDER: Final = "evaluation"


class FraudEvaluator(ModelEvaluator):
    """Ranking figures, those of the shipped alert threshold, and calibration, with 95 % intervals; and the charts."""

    @classmethod
    def can_evaluate(cls, *, model_type: str, evaluator_config: dict[str, Any], **_others: Any) -> bool:
        """Whether it is asked for, by ``model_type="fraud"`` or, for a classifier, by its name."""
        del evaluator_config
        return model_type in (MODEL_TYPE, _CLASSIFIER)

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any] | None,
        model: Any = None,
        **_others: Any,
    ) -> EvaluationResult | None:
        """Measure a version of this software on labelled rows; None for a classifier of other software.

        Parameters
        ----------
        dataset : EvaluationDataset
            Fields as in the contract, and labels in its words; columns for event times and weights count if present.
        evaluator_config : dict, optional
            ``metric_prefix`` begins the figures' names.
        model : PyFuncModel
            What MLflow has loaded.

        Raises
        ------
        InvalidInput
            When the model is none of this software's, or the rows cannot be used.
        """
        from mlflow.entities import Metric
        from mlflow.models.evaluation.artifacts import ImageEvaluationArtifact
        from mlflow.tracking import MlflowClient

        from ml_project.cleaning import clean
        from ml_project.dataset import Dataset
        from ml_project.errors import InvalidBundle, InvalidInput
        from ml_project.metrics import calibration_error, estimate, ranking_metrics, threshold_metrics
        from ml_project.scorer import Scorer
        from pipelines.pages.charts import Side, save_model_charts
        from pipelines.settings import PipelineSettings
        from pipelines.training.model_logging import read_logged_model

        client = MlflowClient()
        try:
            bundle, _signature = read_logged_model(client, str(getattr(model, "model_id", None)))
        except (InvalidBundle, InvalidInput):
            if model_type == _CLASSIFIER:
                return None
            raise
        contract = bundle.manifest.contract
        frame = dataset.features_data.assign(**{contract.label_field: dataset.labels_data})
        rows = Dataset.from_frame(clean(frame, contract, name=dataset.name)[0], contract)
        scores, chosen = Scorer(bundle).score(rows.raw), bundle.manifest.thresholds
        settings = PipelineSettings.model_validate({})
        cost = None if contract.amount is None else settings.review_cost
        wanted = ranking_metrics() | threshold_metrics(chosen.alert, cost, rows.days)
        prefix = (evaluator_config or {}).get("metric_prefix", "")
        metrics = {f"{prefix}calibration_error": calibration_error(rows, scores.probability)}
        for name, found in estimate(rows, scores.hybrid, wanted, settings.replicates, settings.seed).items():
            metrics |= {
                prefix + name: found.value,
                f"{prefix}{name}_low": found.low,
                f"{prefix}{name}_high": found.high,
            }
        with TemporaryDirectory() as scratch:
            side = Side("these rows", scores.hybrid, scores.probability, chosen.alert, chosen.decline)
            names = save_model_charts(Path(scratch), rows, side, cost, settings.money_of(contract))
            client.log_artifacts(run_id, scratch, _FOLDER)
        now = int(time.time() * 1000)
        of = {"model_id": model.model_id, "dataset_name": dataset.name, "dataset_digest": dataset.digest}
        client.log_batch(run_id, [Metric(name, value, now, 0, **of) for name, value in metrics.items()])
        root = client.get_run(run_id).info.artifact_uri
        artifacts = {
            name: ImageEvaluationArtifact(f"{root}/{_FOLDER}/{name}.png")  # type: ignore[no-untyped-call]
            for name in names
        }
        return EvaluationResult(metrics, artifacts, run_id)  # type: ignore[no-untyped-call]
