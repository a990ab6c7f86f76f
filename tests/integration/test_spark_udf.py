"""The registered pyfunc as a Spark function gives the scores of the bundle's own scorer."""

from typing import Any

import mlflow
import numpy as np
import pytest

from ml_project.scorer import load_scorer
from stores.registry import Registry
from tests.support.creditcard import RAW_FEATURES
from tests.support.pipelines import Execution, transactions

RESULT = "hybrid_score double, decision string"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Spark's and MLflow's own


def test_spark_udf_scores_like_the_scorer(spark: Any, executed: Execution, tmp_path: Any) -> None:
    settings = executed.settings
    mlflow.set_tracking_uri(settings.mlflow_uri)
    rows = transactions(300, seed=9)[list(RAW_FEATURES)]
    score = mlflow.pyfunc.spark_udf(spark, "models:/fraud-ensemble@Production", env_manager="local", result_type=RESULT)
    from pyspark.sql.functions import struct

    table = spark.createDataFrame(rows.reset_index())
    scored = table.select("index", score(struct(*RAW_FEATURES)).alias("s")).select("index", "s.*").toPandas()
    scored = scored.sort_values("index")
    Registry(settings.mlflow_uri, settings.model_name).download_bundle(1, tmp_path / "bundle")
    scorer = load_scorer(tmp_path / "bundle", threads=1)
    # ONNX Runtime adds up trees in another order for other batches
    np.testing.assert_allclose(scored["hybrid_score"], scorer.score(rows.to_numpy()).hybrid, rtol=0, atol=1e-6)
    assert set(scored["decision"]) <= {"APPROVE", "REVIEW", "DECLINE"}
