"""A Spark session for a step: the active one, else a new one as ``FRAUD_SPARK_MASTER`` or spark-submit say."""

import atexit
import hashlib
import io
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ml_project.errors import FraudError, InvalidInput, Unavailable
from pipelines.settings import PipelineSettings

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("ml_project", "stores", "pipelines")
_ERRORS = {each.__name__: each for each in (InvalidInput, Unavailable)}


def quoted(column: str) -> str:
    """A column's name as Spark reads it, whatever it holds: dots would lead into structures."""
    return f"`{column.replace('`', '``')}`"


@contextmanager
def spark_session(settings: PipelineSettings) -> Iterator[Any]:
    """A session whose executors can import this project's packages; a new one is stopped at the end of the block.

    Raises
    ------
    InvalidInput
        When pyspark is not installed, or what an executor was given cannot be used.
    Unavailable
        When Spark does not start, or its job fails.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import AnalysisException, PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InvalidInput("pyspark is not installed.", "Install the dependency group spark.") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    there = SparkSession.getActiveSession()
    try:
        spark = there or _started(SparkSession, settings.spark_master)
    except Exception as error:  # Java's and py4j's faults have no common base
        remedy = "It needs Java 17, and FRAUD_SPARK_MASTER must be a master that answers."
        raise Unavailable(f"Spark did not start: {_last_line(error).rstrip('.')}.", remedy) from error
    try:
        spark.sparkContext.addPyFile(str(_packed()))
        yield spark
    except AnalysisException as error:  # the message continues with a plan of many lines
        said = str(error).strip().splitlines()[0]
        raise Unavailable(
            f"Spark cannot do this: {said[:300]}.", "Check that the data is what ingest wrote."
        ) from error
    except (PySparkException, Py4JError) as error:
        raise _clear_error(error) from error
    finally:
        if there is None:
            spark.stop()


def _started(builder: Any, master: str) -> Any:
    quiet = {"spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    session = builder.builder.appName("fraud-platform").config(map=quiet)
    if master:
        session = session.master(master)
    elif "SPARK_ENV_LOADED" not in os.environ and "PYSPARK_GATEWAY_PORT" not in os.environ:
        session = session.master("local[*]").config("spark.ui.enabled", "false")
    return session.getOrCreate()


@cache
def _packed() -> Path:
    """A zip file of the project's packages for executors, kept while this process runs since late ones fetch it, too.

    Named by its content: a session that outlives this process refuses another file of the same name.
    """
    folder = Path(mkdtemp(prefix="fraud-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            for file in sorted((_ROOT / package).rglob("*.py")):
                archive.writestr(zipfile.ZipInfo(str(file.relative_to(_ROOT))), file.read_bytes())
    path = folder / f"fraud_platform_{hashlib.sha256(content.getvalue()).hexdigest()[:12]}.zip"
    path.write_bytes(content.getvalue())
    return path


def _clear_error(error: Exception) -> FraudError:
    """The project's own error, if an executor raised one; else Spark's last message."""
    for line in reversed(str(error).splitlines()):
        name, _, said = line.partition(": ")
        kind = _ERRORS.get(name.removeprefix("ml_project.errors."))
        if kind is not None and name.startswith("ml_project.errors."):
            return kind(said)
    return Unavailable(f"Spark's job failed: {_last_line(error)}", "See the executors' logs.")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
