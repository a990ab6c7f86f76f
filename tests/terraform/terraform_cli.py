"""The terraform program on a copy of a root, so that a test leaves nothing behind in the tree."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.machine import missing

ROOT: Final = Path(__file__).resolve().parents[2] / "terraform"
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
        self._environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", **(environment or {})}
        if not _MIRROR:
            # every init takes the provider from here once the first has fetched it; one folder for each worker, since
            # Terraform does not lock it
            cache = Path(tempfile.gettempdir()) / f"terraform-plugins-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
            cache.mkdir(exist_ok=True)
            self._environment.setdefault("TF_PLUGIN_CACHE_DIR", str(cache))
        # one that a developer points at a file that is not there only warns, but on every command
        if not Path(self._environment.get("TF_CLI_CONFIG_FILE", "/")).exists():
            del self._environment["TF_CLI_CONFIG_FILE"]

    @classmethod
    def copy(cls, tmp_path: Path, environment: dict[str, str] | None = None) -> "Terraform":
        """Copy the whole tree of roots and modules; the commands run in the main root."""
        if shutil.which("terraform") is None:
            missing("terraform")
        target = tmp_path / "terraform"
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars"))
        return cls(target, environment)

    def root(self, name: str) -> "Terraform":
        """The same for another root inside the folder."""
        other = Terraform(self.folder / name)
        other._environment = self._environment
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
        return subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, text=True)

    def output(self) -> dict[str, Any]:
        """The root's outputs."""
        return {name: one["value"] for name, one in json.loads(self.run("output", "-json")).items()}


def _expect(code: int, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != code:
        said = done.stdout[-6000:] + done.stderr[-6000:]
        pytest.fail(f"{' '.join(done.args)} ended with {done.returncode}, not {code}:\n{said}")
