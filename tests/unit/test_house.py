"""What the tree promises about itself: names, pins, entry points and what the documents say of them."""

import ast
import importlib
import json
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import yaml

import ml_project
from pipelines.settings import PipelineSettings
from serving.settings import GatewaySettings
from tests.support.machine import ROOT, load_module


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.splitlines()


def folders_and_files() -> set[str]:
    return {str(parent) for path in tracked() for parent in (Path(path), *Path(path).parents)}


def test_no_two_paths_differ_only_in_case() -> None:
    counts = Counter(path.lower() for path in folders_and_files())
    assert [path for path, count in counts.items() if count > 1] == []


def test_mlflow_finds_the_project_file_and_no_folder_of_that_name() -> None:
    assert [name for name in sorted(folders_and_files()) if name.lower() == "mlproject"] == ["MLproject"]


def lock_module() -> ModuleType:
    return load_module(ROOT / "requirements" / "lock.py")


def test_conda_yaml_holds_the_pins_of_the_lock() -> None:
    lock = lock_module()
    requirements = (ROOT / "requirements" / "pipelines.txt").read_text()
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    assert dependencies[-1]["pip"] == lock.pins(requirements)
    assert len(lock.pins(requirements)) > 50


@pytest.mark.parametrize("name", ["gateway", "pipelines", "dev"])
def test_requirements_are_hashed_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = lock_module().pins(text)
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize("name", ["gateway", "pipelines"])
def test_a_package_has_one_version_everywhere(name: str) -> None:
    lock = lock_module()

    def versions(group: str) -> set[str]:
        pins = lock.pins((ROOT / "requirements" / f"{group}.txt").read_text())
        return {pin.split(" ;")[0] for pin in pins}

    assert versions(name) <= versions("dev")


def test_the_gateway_stays_small() -> None:
    names = {pin.split("==")[0] for pin in lock_module().pins((ROOT / "requirements" / "gateway.txt").read_text())}
    assert names.isdisjoint(
        {"mlflow", "pandas", "scikit-learn", "great-expectations", "optuna", "pyspark", "matplotlib"}
    )


def test_entry_points_of_the_project_are_commands() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text())
    steps = {"ingest", "validate", "train", "threshold", "promote", "main", "retrain"}
    assert set(project["entry_points"]) == steps | {"monitor", "compare", "prequential", "score", "rollback"}
    main = "".join(path.read_text() for path in (ROOT / "pipelines" / "cli").glob("*.py"))
    for name, entry in project["entry_points"].items():
        assert entry["command"].startswith(f"python -m pipelines {name}")
        assert f"\ndef {name}(" in main
        for option in re.findall(r"--([a-z-]+)", entry["command"]):
            assert f"{option.replace('-', '_')}:" in main


def test_the_history_names_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ml_project.__version__ == project["version"]


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"`make ([a-z-]+)", document.read_text()):
            assert target in targets, f"{document.name} speaks of make {target}"


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_page_of_settings_is_what_the_classes_say() -> None:
    page = load_module(ROOT / "docs" / "write_settings.py")
    text = page.PAGE.read_text()
    assert page.written(text) == text, "run `make docs`"
    assert [
        name for table in page.TABLES.values() for name, field in table.model_fields.items() if not field.description
    ] == []


def test_the_page_of_limits_names_every_limit_with_its_setting() -> None:
    """In docs/security.md: a setting that bounds what clients or files may cost, and no other default than its own."""
    page = (ROOT / "docs/security.md").read_text()
    rows = [re.findall(r"`FRAUD_(\w+)`", row.split("|")[2]) for row in page.splitlines() if row.count("|") == 5]
    named = {name.lower() for names in rows for name in names}
    bounds = {name for name in GatewaySettings.model_fields if re.match(r"max_|.*(_bytes|_seconds|_per_second)$", name)}
    assert bounds - named == {"poll_seconds", "hsts_seconds", "emf_seconds"}, "these bound nothing"
    assert named <= GatewaySettings.model_fields.keys() | PipelineSettings.model_fields.keys() | {"rate_limit_store"}
    units = {"kB": 1_000, "MB": 2**20, "GB": 2**30}
    for row in page.splitlines():
        setting = re.fullmatch(r"\|[^|]*\| `FRAUD_(\w+)` \| ([\d.,]+) ?(s|h|kB|MB|GB)?\b[^|]*\|[^|]*\|", row)
        default = setting and getattr(GatewaySettings.model_fields.get(setting[1].lower()), "default", None)
        if setting and isinstance(default, int | float):
            assert float(setting[2].replace(",", "")) * units.get(setting[3] or "", 1) == default, row


def test_the_page_makes_no_markup_of_text() -> None:
    """What clients send is shown there: names of fields, keys, faults."""
    unsafe = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|DOMParser|\beval\b|new Function"
    )
    assert [
        path for path in tracked() if re.match(r"ui/.*\.(js|html)$", path) and unsafe.search((ROOT / path).read_text())
    ] == []


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_find_what_they_measure(path: Path) -> None:
    importlib.import_module(f"benchmarks.{path.stem}")


def test_tables_of_scale_are_those_of_the_figures_kept() -> None:
    from benchmarks import scale_report

    summary = json.loads(scale_report.RESULTS.read_text())
    measured, worked_out = "\n".join(scale_report.figures(summary)), "\n".join(scale_report.billion(summary, 8, 0.40))
    assert measured in (ROOT / "docs" / "benchmarks.md").read_text()
    assert worked_out in (ROOT / "docs" / "scale.md").read_text()


def test_paths_named_in_the_documents_exist() -> None:
    ours = r"`((?:ml_project|stores|pipelines|serving|tests|benchmarks|docs|deploy|docker|examples|ui)/[\w./-]*)`"
    made = {"docker/.env"}  # by docker/secrets.sh
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for path in set(re.findall(ours, document.read_text())) - made:
            assert (ROOT / path).exists(), f"{document.name} speaks of {path}"


CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}
PATIENCE = 60
"""Seconds that tests at least wait for what must happen: where nothing is wrong, no machine is too slow for them."""

WAITING = {"wait", "result", "join", "communicate", "run", "Client", "HTTPConnection", "wait_procs", "end"}


def is_clock(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("time", "datetime", "date")
    )


def reads_clock(node: ast.AST) -> bool:
    return any(map(is_clock, ast.walk(node)))


def seconds_of(node: ast.AST | None) -> float | None:
    return node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What is evaluated when a module is imported: all but the bodies of its functions."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for outside in (*getattr(each, "decorator_list", ()), *each.args.defaults, *each.args.kw_defaults):
                yield from ast.walk(outside) if outside else ()
        else:
            yield each
            yield from at_import(each)


def bounds_of_speed(node: ast.AST) -> Iterator[str]:
    """What in an expression is true on fast machines only."""
    if isinstance(node, ast.Compare):
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            smaller, larger = (left, right) if isinstance(operator, ast.Lt | ast.LtE) else (right, left)
            # of two times, as in a ratio, one may well bound the other
            elapsed = isinstance(smaller, ast.BinOp) and isinstance(smaller.op, ast.Sub) and reads_clock(smaller)
            if elapsed and seconds_of(larger) is not None:
                yield "an upper bound of a time that passed"
    added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and reads_clock(node.left)
    if added and (seconds_of(node.right) or PATIENCE) < PATIENCE:
        yield "an early deadline"
    if isinstance(node, ast.arguments):
        for argument, default in zip(reversed(node.args), reversed(node.defaults), strict=False):
            if argument.arg == "seconds" and (seconds_of(default) or PATIENCE) < PATIENCE:
                yield "an early deadline"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITING:
        given = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
        given += node.args if node.func.attr in ("wait", "result", "join") and len(node.args) == 1 else []
        # below a second it is a pause
        if any(1 < (seconds_of(each) or PATIENCE) < PATIENCE for each in given):
            yield "an early timeout"


def test_no_test_leans_on_the_clock() -> None:
    """They pass at any speed, on any date and, as ruff forbids times without a zone, in any zone."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text())
        faults = [(each, "the clock read at import") for each in at_import(tree) if is_clock(each)]
        faults += [(each, fault) for each in ast.walk(tree) for fault in bounds_of_speed(each)]
        found += [f"{path.relative_to(ROOT)}:{getattr(each, 'lineno', '')}: {fault}" for each, fault in faults]
    assert found == []
    assert hypothesis.settings.default.deadline is None


@pytest.mark.parametrize(
    "source",
    [
        "NOW = datetime.now(UTC)",
        "class A:\n    at: float = time.time()",
        "def f(at=time.monotonic()): ...",
        "@pytest.mark.parametrize('x', [time.time()])\ndef test(x): ...",
        "def test():\n    assert time.monotonic() - started < 15",
        "def test():\n    assert 5 >= time.perf_counter() - began",
        "def test():\n    deadline = time.monotonic() + 5",
        "def wait_for(url, seconds=5.0): ...",
        "def test():\n    process.communicate(timeout=20)",
        "def test():\n    future.result(10)",
    ],
)
def test_what_leans_on_the_clock_is_found(source: str) -> None:
    tree = ast.parse(source)
    imported = any(map(is_clock, at_import(tree)))
    assert imported or any(fault for each in ast.walk(tree) for fault in bounds_of_speed(each))


def test_no_test_module_imports_another() -> None:
    """What several need lies in tests/support or a conftest: a test module may be renamed without a look around."""
    importing = re.compile(r"^(?:from|import) tests\.(?:\w+\.)*test_\w+", re.MULTILINE)
    found = [path for path in tracked() if path.startswith("tests/") and path.endswith(".py")]
    assert [path for path in found if importing.search((ROOT / path).read_text())] == []


OF_THE_PUBLIC_TABLE = {
    "contracts/creditcard.yaml": "its contract",
    "contracts/creditcard2023.yaml": "the contract of Kaggle's table of 2023, which has its columns",
    "contracts/creditcard.reference.json": "its reference figures",
    "ml_project/simulator.py": "its simulator",
    "ml_project/simulator_model.py": "its simulator",
    "ml_project/simulator_parameters.json": "its simulator",
    "benchmarks/fit_simulator.py": "fits its simulator",
    "benchmarks/gateway/models.py": "the seed's model, which knows no other table",
    "tests/support/creditcard.py": "for its tests",
}

COLUMN = re.compile(
    r"\bV(?:[1-9]|1\d|2[0-8])\b"
    # words of English too: as a whole text or key, as a member, or with a capital in mid-sentence
    r"""|(?P<quote>["'`])(?:Time|Amount|Class)(?P=quote)|(?<=\w\.)(?:Time|Amount|Class)\b"""
    r"|(?<=[a-z,] )(?:Time|Amount|Class)\b|\b(?:Time|Amount|Class) *="
)

SOURCES = {".py", ".js", ".html", ".css", ".sql", ".mako", ".sh", ".yaml", ".yml", ".toml", ".json", ".ipynb"}


def named_columns(text: str) -> list[int]:
    """Numbers of the lines that name a column of the public table."""
    return [number for number, line in enumerate(text.splitlines(), 1) if COLUMN.search(line)]


def test_only_its_contract_and_its_simulator_name_a_column_of_the_public_table() -> None:
    """In code, comments, messages, pages, SQL and test helpers alike; tests themselves are about tables."""
    assert [path for path in OF_THE_PUBLIC_TABLE if not (ROOT / path).is_file()] == []
    found = []
    for name in tracked():
        path = ROOT / name
        about = name in OF_THE_PUBLIC_TABLE or path.name.startswith("test_") or name.startswith("docs/")
        if path.suffix in SOURCES and path.is_file() and not about:
            found += [f"{name}:{number}" for number in named_columns(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "amount(inputs.Amount)",
        'title: "Amount"',
        "SELECT 'Time' FROM t",
        '"""Chunks ordered by Time."""',
        "frame.assign(Class=0)",
        "// columns V1 to V28",
        "`V7`",
    ],
)
def test_a_column_of_the_public_table_is_found(line: str) -> None:
    assert named_columns(f"first\n{line}\n") == [2]


@pytest.mark.parametrize("line", ["Time for one row.", "v1_v2_ratio", "compare V31", "from time import x"])
def test_other_words_are_no_columns_of_the_public_table(line: str) -> None:
    assert named_columns(line) == []
