"""The terraform program on a copy of the tree, so that a test leaves nothing behind in it."""

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.machine import missing

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ROOT: Final = REPOSITORY / "terraform"
ENVIRONMENTS: Final = ("staging", "production")
DATABASE_OWNERS: Final = {
    "mlflow": "tracking",
    "mlflow_users": "tracking_users",
    "gateway": "decisions",
    "pipelines": "study",
}
"""Databases by user, as terraform/modules/database/secrets.tf has them."""
_MIRROR: Final = os.environ.get("TF_PLUGIN_DIR", "")
"""Folder with the AWS provider; without it the registry is asked."""


class Terraform:
    """Commands in one folder.

    Parameters
    ----------
    folder : Path
        A root module.
    environment : dict, optional
        Added to this process's variables.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        # Go collects its garbage a quarter as often: an eighth less of the processor for 200 MB
        quick = {"GOGC": "400", "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        self.environment = {**os.environ, **quick, **(environment or {})}
        # one that a developer points at a file that is not there only warns, but on every command
        if not Path(self.environment.get("TF_CLI_CONFIG_FILE", "/")).exists():
            del self.environment["TF_CLI_CONFIG_FILE"]
        # nothing in the tests speaks TLS, and a process of the provider takes this once only
        self.environment.pop("AWS_CA_BUNDLE", None)

    @classmethod
    def copy(cls, tmp_path: Path, environment: dict[str, str] | None = None) -> "Terraform":
        """Copy the whole tree of roots and modules, and the scripts that it runs; `root` names a root inside."""
        if shutil.which("terraform") is None:
            missing("terraform")
        target = tmp_path / "terraform"
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars"))
        shutil.copytree(REPOSITORY / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        return cls(target, environment)

    def root(self, name: str) -> "Terraform":
        """The same for another root inside the folder."""
        other = Terraform(self.folder / name)
        other.environment = self.environment
        return other

    def init(self, *arguments: str) -> None:
        mirror = (f"-plugin-dir={_MIRROR}",) if _MIRROR else ()
        done = self._run("init", "-input=false", *mirror, *arguments)
        if "Failed to query available provider packages" in done.stderr:
            missing("the AWS provider (set TF_PLUGIN_DIR, or let terraform reach its registry)")
        _expect(0, done)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command, expect its exit code, return what it printed."""
        done = self._run(*arguments)
        _expect(code, done)
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["terraform", arguments[0], "-no-color", *arguments[1:]]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def output(self) -> dict[str, Any]:
        """The root's outputs."""
        return {name: one["value"] for name, one in json.loads(self.run("output", "-json")).items()}

    def plan(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """What a plan would change, by address."""
        self.run("plan", "-out=plan.bin", *arguments)
        changes = json.loads(self.run("show", "-json", "plan.bin"))["resource_changes"]
        return {one["address"]: one for one in changes if one["change"]["actions"] not in (["no-op"], ["read"])}

    def resources(self) -> dict[str, dict[str, Any]]:
        """Every resource of the state by its address: its type and values."""
        found: dict[str, dict[str, Any]] = {}
        modules = [json.loads(self.run("show", "-json")).get("values", {}).get("root_module", {})]
        for module in modules:
            modules += module.get("child_modules", [])
            found |= {one["address"]: one for one in module.get("resources", [])}
        return found

    @contextmanager
    def provider_attached(self) -> Iterator[None]:
        """Let one process of the provider serve all commands meanwhile, where each would start it several times.

        For commands that ask AWS nothing: the process has one configuration, that of the latest provider block.
        """
        (program,) = self.folder.glob(".terraform/providers/*/*/*/*/*/terraform-provider-aws_*")
        process = subprocess.Popen(
            [program, "-debug"], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if "TF_REATTACH_PROVIDERS=" in line)
            self.environment["TF_REATTACH_PROVIDERS"] = said.partition("=")[2].strip().strip("'")
            yield
        finally:
            self.environment.pop("TF_REATTACH_PROVIDERS", None)
            process.terminate()
            process.communicate()

    def graph(self) -> "Graph":
        """Which resource waits for which."""
        edges: defaultdict[str, set[str]] = defaultdict(set)
        for after, before in re.findall(r'"([^"]+)" -> "([^"]+)"', self.run("graph")):
            edges[after].add(before)
        return Graph(edges)


class Graph:
    """Resources and what they wait for."""

    def __init__(self, edges: dict[str, set[str]]) -> None:
        self._edges = edges

    def before(self, resource: str) -> set[str]:
        """Everything that must exist before that resource."""
        found: set[str] = set()
        left = [resource]
        while left:
            for other in self._edges.get(left.pop(), set()) - found:
                found.add(other)
                left.append(other)
        return found


def _expect(code: int, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != code:
        said = done.stdout[-6000:] + done.stderr[-6000:]
        pytest.fail(f"{' '.join(done.args)} ended with {done.returncode}, not {code}:\n{said}")
