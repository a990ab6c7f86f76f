"""The tree as it lies there: form, types, its own tests with a mocked provider, and what checkov says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import missing
from tests.terraform.terraform_cli import ENVIRONMENTS, ROOT, Terraform

SKIP = re.compile(r"#checkov:skip=(\w+):?(.*)")
LONGEST_LINE = 120


def sources(*endings: str) -> list[Path]:
    return [file for file in ROOT.rglob("*") if file.name.endswith(endings) and ".terraform" not in file.parts]


def test_the_form_is_terraforms_own() -> None:
    if shutil.which("terraform") is None:
        missing("terraform")
    assert Terraform(ROOT).run("fmt", "-check", "-recursive") == ""


def test_every_root_is_valid(everything: Terraform) -> None:
    assert "The configuration is valid" in everything.run("validate")


def test_no_line_is_too_long() -> None:
    for file in sources(".tf", ".hcl", ".py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            assert len(line) <= LONGEST_LINE, f"{file.relative_to(ROOT)}:{number}"


def test_every_variable_has_a_type_and_a_description_and_says_what_it_takes() -> None:
    for file in sources("variables.tf"):
        for block in re.findall(r'^variable "\w+" \{$.*?^\}$', file.read_text(), re.MULTILINE | re.DOTALL):
            assert "\n  type " in block, block
            assert "\n  description " in block, block
            # modules are called by the platform alone, which has checked; there null is what could go wrong
            checked = (
                "\n  validation {",
                "\n  nullable ",
                "type        = bool",
                "type        = number",
                "default     =",
            )
            assert any(word in re.sub(" +=", lambda found: found[0], block) for word in checked) or "null" in block, (
                block
            )


def test_people_get_to_hear_what_a_setting_may_be() -> None:
    for folder in ("platform", "bootstrap"):
        text = (ROOT / folder / "variables.tf").read_text()
        for block in re.findall(r'^variable "\w+" \{$.*?^\}$', text, re.MULTILINE | re.DOTALL):
            assert "\n  validation {" in block or re.search(r"type\s+= bool", block), block


def test_environments_differ_in_their_settings_alone() -> None:
    staging, production = (ROOT / "environments" / name for name in ENVIRONMENTS)
    lock = ".terraform.lock.hcl"
    for file in ("outputs.tf", "variables.tf", lock):
        assert (staging / file).read_text() == (production / file).read_text(), file
    # the root that is validated has the lock of one of them
    assert (ROOT / "bootstrap" / lock).read_text() == (production / lock).read_text()
    first, second = ((folder / "versions.tf").read_text() for folder in (staging, production))
    assert first.replace('"staging"', '"production"') == second
    bootstrap = (ROOT / "bootstrap" / "variables.tf").read_text()
    untouched = 'certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"'
    # which is refused
    assert untouched in (ROOT / "platform" / "tests" / "computes.tftest.hcl").read_text()
    for folder in (staging, production):
        assert (folder / "main.tf").read_text().count(untouched) == 2
        assert f'{folder.name} = "{(folder / "name").read_text().strip()}"' in bootstrap


def test_every_skip_of_checkov_has_a_reason() -> None:
    for file in sources(".tf"):
        for check, reason in SKIP.findall(file.read_text()):
            assert len(reason) > 15, f"{file.name}: {check}"


def test_no_account_number_stands_in_the_tree() -> None:
    for file in sources(".tf", ".tfvars"):
        assert not re.search(r"\b[0-9]{12}\b", file.read_text()), file.name


@pytest.mark.slow
def test_the_bootstraps_own_tests_pass(everything: Terraform) -> None:
    root = everything.root("terraform/bootstrap")
    root.init("-backend=false", "-lockfile=readonly")
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
