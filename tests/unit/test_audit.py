"""The audit of dependencies tells findings, a database that is out of reach, and a broken audit apart."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import ROOT, load_module

audit = load_module(ROOT / "requirements" / "audit.py")

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "odd", "skip_reason": "not on PyPI"}


def command(text: str, code: int) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})"]


def answer(*dependencies: object) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


@pytest.mark.parametrize(
    ("text", "code", "reason", "expected", "said"),
    [
        (answer(GOOD), 0, None, 0, "1 packages, 0 vulnerabilities"),
        (answer(GOOD, BAD), 1, None, 1, "bad 2.0: PYSEC-1, mended in 2.1"),
        (answer(GOOD, BAD), 1, "no network", 1, "bad 2.0: PYSEC-1, mended in 2.1"),
        (answer(GOOD, SKIPPED), 0, None, 2, "odd could not be audited: not on PyPI"),
        ("", 1, "no network", 69, "The vulnerability database cannot be reached (no network): nothing was audited."),
        ("", 1, None, 2, "pip-audit ended with 1 and no answer"),
        ("{}", 0, None, 2, "pip-audit ended with 0 and no answer"),
        (answer(), 0, None, 2, "pip-audit ended with 0 and no answer"),
        (answer(GOOD), 3, None, 2, "pip-audit ended with 3 and no answer"),
    ],
)
def test_what_an_audit_can_come_to(text, code, reason, expected, said) -> None:
    status, told = audit.audited(command(text, code), lambda: reason)
    assert status == expected
    assert told.startswith(said)


def test_without_a_network_the_script_says_so() -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    unset = {"no_proxy": "", "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, "requirements/audit.py"],
        cwd=ROOT,
        env=os.environ | nowhere | unset,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 69, done.stdout + done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith("The vulnerability database cannot be reached (")


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 1), (2, 2), (69, 0)])
def test_ci_fails_unless_clean_or_out_of_reach(tmp_path: Path, status: int, expected: int) -> None:
    text = (ROOT / ".ci" / "run").read_text()
    script = text[text.index("status=0") :]
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {status}\n")
    python.chmod(0o755)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == expected
    assert ("skipped" in done.stdout) == (status == 69)
