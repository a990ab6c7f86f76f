"""A Spark session for a step: the one that is there, else one as ``FRAUD_SPARK_MASTER`` or spark-submit say."""

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ml_project.errors import FraudError, InvalidInput, Unavailable
from pipelines.settings import PipelineSettings

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("ml_project", "stores", "pipelines")
_ERRORS = {each.__name__: each for each in (InvalidInput, Unavailable)}


@contextmanager
def spark_session(settings: PipelineSettings) -> Iterator[Any]:
    """A session whose executors know our packages; one that we started ends with the block.

    Raises
    ------
    InvalidInput
        When pyspark is not installed, or what an executor was given cannot be used.
    Unavailable
        When Spark does not start, or its job fails.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InvalidInput("pyspark is not installed.", "Install the dependency group spark.") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    there = SparkSession.getActiveSession()
    try:
        spark = there or _started(SparkSession, settings.spark_master)
    except Exception as error:  # Java's and py4j's faults have no common base
        raise Unavailable(f"Spark did not start: {_last_line(error)}.", "It needs Java 17.") from error
    try:
        with TemporaryDirectory(prefix="fraud-spark-") as scratch:
            spark.sparkContext.addPyFile(str(_packed(Path(scratch))))
            yield spark
    except PySparkException as error:
        raise _translated(error) from error
    finally:
        if there is None:
            spark.stop()


def _started(builder: Any, master: str) -> Any:
    session = builder.builder.appName("fraud-platform").config("spark.ui.showConsoleProgress", "false")
    if master:
        session = session.master(master)
    elif "SPARK_ENV_LOADED" not in os.environ and "PYSPARK_GATEWAY_PORT" not in os.environ:
        session = session.master("local[*]").config("spark.ui.enabled", "false")
    spark = session.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _packed(folder: Path) -> Path:
    """Our packages as executors import them."""
    path = folder / "fraud_platform.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            for file in sorted((_ROOT / package).rglob("*.py")):
                archive.write(file, file.relative_to(_ROOT))
    return path


def _translated(error: Exception) -> FraudError:
    """Our own error, if an executor raised one; else what Spark says last."""
    for line in reversed(str(error).splitlines()):
        name, _, said = line.partition(": ")
        kind = _ERRORS.get(name.removeprefix("ml_project.errors."))
        if kind is not None and name.startswith("ml_project.errors."):
            return kind(said)
    return Unavailable(f"Spark's job failed: {_last_line(error)}", "See the executors' logs.")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
