"""A session for a step: what Spark refuses is one line, and what executors import is found again."""

from typing import Any

import pytest

from ml_project.errors import Unavailable
from pipelines.settings import PipelineSettings
from pipelines.spark_session import spark_session

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_what_spark_cannot_do_is_one_line(spark: Any) -> None:
    with (
        pytest.raises(Unavailable, match=r"^Spark cannot do this: .*`nothing`.*") as refused,
        spark_session(PipelineSettings.model_validate({})) as session,
    ):
        session.range(3).select("nothing")
    assert "\n" not in str(refused.value)


def test_executors_import_our_packages_session_after_session(spark: Any) -> None:
    def where(batches: Any) -> Any:
        from tests.support.creditcard import FEATURES

        for batch in batches:
            yield batch.rename_columns({"id": "features"}).slice(0, 1) if len(FEATURES) == 37 else batch

    for _ in range(2):
        with spark_session(PipelineSettings.model_validate({})) as session:
            assert session is spark
            assert session.range(4, numPartitions=2).mapInArrow(where, "features bigint").count() == 2
