"""What tests of several folders share."""

import hashlib
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import create_engine, make_url
from xdist.scheduler import LoadScopeScheduling

from ml_project.simulator import simulate
from tests.support.commands import Commands
from tests.support.creditcard import LABEL, RAW_FEATURES
from tests.support.machine import REAL_HEAD, REAL_SAMPLE, find_program, missing
from tests.support.servers import ACCESS_KEY, SECRET_KEY, PostgresServer, S3Server, running_postgres

# Before OpenMP is loaded, here and in processes that tests start: its threads would spin while they wait for each
# other, which on few cores takes them from whoever has work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Also before a JVM starts: in one that lives a minute, optimising takes longer than it saves.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

# Hypothesis fails an example that takes 0.2 s, and a strategy that is slow, by the clock on the wall.
hypothesis.settings.register_profile(
    "at any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("at any speed")

if "PYTEST_XDIST_WORKER" in os.environ:
    # at least as many workers as cores: more threads in each only take turns
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # a worker has no main module to speak of, which PySpark takes for a doctest, and ends the process; this is pytest's
    sys.modules["__main__"].__file__ = str(Path(pytest.__file__).with_name("__main__.py"))

_COSTLY = {
    "terraform": r"tests\.terraform\.conftest import .*\bPlatform\b",
    "executed": r"\b(executed: Execution|own_settings)\b",
    "spark": r"\bspark\b",
    "mlflow_server": r"\bmlflow_server\b|\btests\.faults\.(clients|conftest) import",
    "terraform plans": r"\bmocked\b",
    "browser": r"\btests\.browser\b",
}
"""Fixtures that take many seconds to make, and how modules ask for them; these modules share a worker and go first,
in this order."""

_ALL_SLOW, _SOME_SLOW = r"(?m)^pytestmark = .*mark\.slow", r"mark\.slow|\bfew_or_full\b"
"""How a module says that all of its tests are slow, or some."""

_databases = itertools.count()


class _SaysFailuresAtOnce:
    """Names a test when it fails: a run that is ended from outside never comes to its summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            cause = getattr(getattr(report.longrepr, "reprcrash", None), "message", "").partition("\n")[0]
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.when} of {report.nodeid} failed: {cause}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(_SaysFailuresAtOnce(terminal))


def pytest_addoption(parser: pytest.Parser) -> None:
    # here, not beside the suites: pytest reads options only from what it loads first (and --version is its own)
    parser.addoption("--model-version", type=int, help="tests/model: registered version instead of a small bundle")
    parser.addoption("--ingested", action="store_true", help="tests/data: the ingested data instead of samples")


@cache
def _group(path: Path) -> str:
    """What is run in one worker: a module, or all that share a costly fixture."""
    source = path.read_text()
    return next((name for name, asked in _COSTLY.items() if re.search(asked, source)), str(path))


class _GroupScheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _group(self.config.rootpath / nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Hand out groups. (xdist's own `loadgroup` knows a group by a node id that pytest 9.2 does not let it change.)"""
    return _GroupScheduling(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out modules of which `-m` wants no test: their imports are most of the time that collecting takes."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    wanted, source = config.option.markexpr, collection_path.read_text()
    if wanted.startswith("slow") and not re.search(_SOME_SLOW, source):
        return True
    return True if wanted.startswith("not slow") and re.search(_ALL_SLOW, source) else None


@cache
def _turn(path: Path) -> int:
    """Costly groups first, then modules of slow tests, then those with some: no long one is to be the last, alone."""
    first, source = list(_COSTLY), path.read_text()
    if (group := _group(path)) in first:
        return first.index(group)
    return len(first) + next((turn for turn, said in enumerate((_ALL_SLOW, _SOME_SLOW)) if re.search(said, source)), 2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what is long first; stable, so that a random order stays one among what is equally so."""
    items.sort(key=lambda item: _turn(item.path))


@pytest.fixture(scope="session")
def real_sample() -> pd.DataFrame:
    """A sample of the real data set (the contract's columns and the weight), in time order."""
    if not REAL_SAMPLE.is_file():
        missing(str(REAL_SAMPLE))
    return pd.read_parquet(REAL_SAMPLE)


@pytest.fixture(scope="session")
def real_head_path() -> Path:
    """The first 7,972 rows of the original file, in its CSV form; 39 exact duplicates, 25 frauds."""
    if not REAL_HEAD.is_file():
        missing(str(REAL_HEAD))
    return REAL_HEAD


@pytest.fixture
def simulated_frame() -> pd.DataFrame:
    """500 simulated transactions (the contract's columns), every tenth a fraud or so."""
    (chunk,) = simulate(500, seed=1, fraud_rate=0.1)
    return pd.DataFrame(chunk.raw, columns=list(RAW_FEATURES)).assign(**{LABEL: chunk.label.astype(np.int64)})


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; who stops it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server for one test: roles and named databases belong to a whole server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """The server's database ``postgres``, whose user may make others."""
    return postgres_server.url


@pytest.fixture
def postgres_database(postgres_url: str) -> str:
    """The URL of an empty PostgreSQL database."""
    server = make_url(postgres_url)
    name = f"test_{next(_databases)}"
    administrator = create_engine(server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    administrator.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/decisions.db"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server; who stops it starts it again."""
    rclone = find_program("rclone")
    if rclone is None:
        missing("rclone")
    server = S3Server(rclone, tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The test server's keys in the environment, and nothing of the machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def s3_bucket(s3_server: S3Server, s3_credentials: None, tmp_path: Path) -> str:
    """An empty bucket's name."""
    name = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Runs `python -m pipelines` without waiting for its imports."""
    with Commands(tmp_path_factory.mktemp("commands")) as made:
        yield made


@pytest.fixture(scope="session")
def empty_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables in a SQLite file, to be copied: making them takes three seconds."""
    from pipelines.tracking import create_database

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    create_database(path)
    return path


@pytest.fixture
def spark(spark_stops: None) -> Any:
    """A Spark session on two threads of this machine: the one that is there, or a new one."""
    if shutil.which("java") is None:
        missing("java")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    quick = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.codegen.wholeStage": "false",
    }
    return SparkSession.builder.master("local[2]").config(map=quick).getOrCreate()


@pytest.fixture(scope="session")
def spark_stops() -> Iterator[None]:
    """Ends Spark's session with the tests'."""
    yield
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
