"""docs/architecture.md lists the files that a transaction, a training and a promotion pass through: held by a trace."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_calls
from tests.support.machine import ROOT
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow

SECTIONS = {
    "Files of a transaction": "POST /predict, approved",
    "Files of a training": "training",
    "Files of a promotion": "promote",
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the benchmark in a process of its own: it sets profiling and logging for the whole process."""
    figures = tmp_path_factory.mktemp("trace") / "calls.json"
    command = [sys.executable, str(Path(bench_calls.__file__)), "--json", str(figures)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(figures.read_text())
    return found


def listed(section: str) -> list[str]:
    page = (ROOT / "docs" / "architecture.md").read_text()
    text = re.split(r"^## ", page.split(f"## {section}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\d+\. `([^`]+)`: \S", text, re.MULTILINE)


def test_the_lists_say_of_a_file_what_it_says_of_itself() -> None:
    """Its docstring up to the first full stop."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name, said in re.findall(r"^\d+\. `([^`]+)`: (.+)$", page, re.MULTILINE):
        docstring = ast.get_docstring(ast.parse((ROOT / name).read_text())) or ""
        first = re.split(r"\.(?:\s|$)", " ".join(docstring.split()))[0]
        assert said.lower() == first.lower(), name


@pytest.mark.parametrize("section", SECTIONS)
def test_the_list_is_what_a_trace_touches(traced: dict[str, dict[str, Any]], section: str) -> None:
    files = listed(section)
    assert len(files) == len(set(files))
    assert set(files) == set(traced[SECTIONS[section]]["in order"])


def test_a_prediction_stays_within_few_files(traced: dict[str, dict[str, Any]]) -> None:
    """The limits of the layout; `benchmarks/bench_calls.py --files` shows what went over them."""
    approved = traced["POST /predict, approved"]
    assert approved["files"] <= 22
    assert approved["moves"] <= 110
    assert sum(bench_calls.source_files().values()) <= 247


def test_every_package_has_a_map_of_its_files() -> None:
    for package in bench_calls.PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
            if not modules:
                continue
            text = init.read_text()
            missing = {name for name in modules if not re.search(rf"`{name}`", text)}
            assert missing == set(), f"{init.relative_to(ROOT)} does not say what these are for"
