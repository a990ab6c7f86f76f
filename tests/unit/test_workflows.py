"""GitHub's workflows: what they need exists, what they may is little, what they use is pinned."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.machine import missing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = ("ci", "deploy", "retrain", "rollback")
ROLES = {"GitHubActionsRole", "GitHubActionsApplyRole", "GitHubActionsJobsRole"}
# on main without an environment: the deploy role's trust; the others are pinned to an environment
ENVIRONMENTS = {"GitHubActionsRole": None, "GitHubActionsApplyRole": "production", "GitHubActionsJobsRole": "models"}


def workflow(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    return loaded


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(name, job, body) for name in NAMES for job, body in workflow(name)["jobs"].items()]


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{name}.{job}", step) for name, job, body in jobs() for step in body.get("steps", [])]


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    return found or missing(name)


def test_these_are_all() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_allowed_by_default_and_runs_do_not_overlap(name: str) -> None:
    loaded = workflow(name)
    assert loaded["permissions"] == {"contents": "read"}
    assert loaded["concurrency"]["group"]
    # a half-finished deployment or training must not be cancelled by the next
    assert name == "ci" or loaded["concurrency"]["cancel-in-progress"] is False


def test_what_a_job_needs_exists_and_what_it_reads_of_others_is_said_there() -> None:
    for name, job, body in jobs():
        needed = [body["needs"]] if isinstance(body.get("needs"), str) else body.get("needs", [])
        siblings = workflow(name)["jobs"]
        assert set(needed) <= set(siblings), job
        for other, output in re.findall(r"needs\.([\w-]+)\.outputs\.(\w+)", json.dumps(body)):
            assert other in needed, f"{name}.{job} reads {other} without needing it"
            assert output in siblings[other]["outputs"], f"{name}.{job}: {other} has no output {output}"


def test_only_jobs_that_log_in_to_aws_get_a_token_and_each_in_its_environment() -> None:
    for name, job, body in jobs():
        text = json.dumps(body)
        roles = {role for role in ROLES if f':role/{role}"' in text}
        allowed = {"contents": "read"} | ({"id-token": "write"} if roles else {})
        assert body.get("permissions", {"contents": "read"}) == allowed, f"{name}.{job}"
        assert len(roles) <= 1, f"{name}.{job}"
        for role in roles:
            assert body.get("environment") == ENVIRONMENTS[role], f"{name}.{job}"


def test_every_job_ends_by_itself() -> None:
    for name, job, body in jobs():
        assert "uses" in body or body["timeout-minutes"] <= 360, f"{name}.{job}"


def test_actions_are_pinned_by_commit_and_one_version_each() -> None:
    pins: dict[str, set[str]] = {}
    for where, step in steps():
        if "uses" in step:
            action, _, commit = step["uses"].partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{where}: {step['uses']}"
            pins.setdefault(action, set()).add(commit)
    assert all(len(commits) == 1 for commits in pins.values()), pins
    for file in FOLDER.iterdir():
        for line in re.findall(r"uses: \S+@[0-9a-f]{40}(.*)", file.read_text()):
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", line), f"{file.name}: the version beside the commit"


def test_nothing_may_fail_unseen_and_no_secret_lives_long() -> None:
    for file in FOLDER.iterdir():
        text = file.read_text()
        for word in ("|| true", "continue-on-error", "set +e", "secrets.", "aws-access-key-id", "pull_request_target"):
            assert word not in text, f"{file.name}: {word}"


def test_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for where, step in steps():
        script = step.get("run", "")
        for target in re.findall(r"\bmake ([a-z-]+)", script):
            assert target in targets, f"{where}: make {target}"
        for file in re.findall(r"\bpython3? (\S+\.py)", script):
            assert (ROOT / file).is_file(), f"{where}: {file}"
        for file in re.findall(r"-r (\S+)", script):
            assert (ROOT / file).is_file(), f"{where}: {file}"


def test_versions_of_python_are_those_of_the_project() -> None:
    assert workflow("ci")["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_a_deployment_goes_through_its_stages_in_order() -> None:
    stages = workflow("deploy")["jobs"]
    assert {job: stages[job].get("needs") for job in stages} == {
        "ci": None,
        "build": "ci",
        "plan": "build",
        "apply": "plan",
        "back": "apply",
    }
    commands = [step.get("run", "") for step in stages["apply"]["steps"]]
    assert commands.index("terraform -chdir=terraform apply -input=false plan.bin") < len(commands) - 1
    assert "deploy/smoke.py" in commands[-1]
    assert stages["back"]["if"].startswith("failure()")


def test_zizmor_finds_nothing() -> None:
    done = subprocess.run(
        [program("zizmor"), "--offline", "--no-progress", str(FOLDER)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_is_githubs() -> None:
    files = sorted(str(file) for file in FOLDER.iterdir())
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
