"""Both roots as they lie there: form, types, their own tests with a mocked provider, and what checkov says."""

import os
import re
import shutil
import subprocess

import pytest

from tests.support.machine import missing
from tests.terraform.terraform_cli import ROOT, Terraform

SKIP = re.compile(r"#checkov:skip=(\w+):?(.*)")


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """One copy for all tests, none of which changes it."""
    return Terraform.copy(tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="module", params=["main", "bootstrap"])
def root(request: pytest.FixtureRequest, terraform: Terraform) -> Terraform:
    chosen = terraform if request.param == "main" else terraform.root("bootstrap")
    chosen.init("-backend=false", "-lockfile=readonly")
    return chosen


def test_the_form_is_terraforms_own(terraform: Terraform) -> None:
    assert terraform.run("fmt", "-check", "-recursive") == ""


def test_it_is_valid(root: Terraform) -> None:
    assert "The configuration is valid" in root.run("validate")


def test_every_variable_has_a_type_and_a_description() -> None:
    for file in ROOT.rglob("variables.tf"):
        for block in re.findall(r'^variable "\w+" \{$.*?^\}$', file.read_text(), re.MULTILINE | re.DOTALL):
            assert "\n  type " in block, block
            assert "\n  description " in block, block
            # a bool has nothing left to check
            assert "\n  validation {" in block or re.search(r"type\s+= bool", block), block


def test_every_skip_of_checkov_has_a_reason() -> None:
    for file in ROOT.rglob("*.tf"):
        for check, reason in SKIP.findall(file.read_text()):
            assert len(reason) > 15, f"{file.name}: {check}"


def test_no_account_number_stands_in_the_tree() -> None:
    for file in (one for pattern in ("*.tf", "*.tfvars") for one in ROOT.rglob(pattern)):
        if "tests" not in file.parts:
            assert not re.search(r"\b[0-9]{12}\b", file.read_text()), file.name


@pytest.mark.slow
def test_their_own_tests_pass(root: Terraform) -> None:
    assert re.search(r"Success! [2-9] passed, 0 failed", root.run("test"))


@pytest.mark.slow
def test_checkov_finds_nothing() -> None:
    checkov = os.environ.get("CHECKOV") or shutil.which("checkov")
    if not checkov:
        missing("checkov (a program of its own environment, named by the variable CHECKOV)")
    command = [checkov, "-d", str(ROOT), "--framework", "terraform", "--skip-download", "--compact", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed checks: 0" in done.stdout
