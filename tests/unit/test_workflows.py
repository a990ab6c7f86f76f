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
BOOTSTRAP = ROOT / "terraform" / "bootstrap"
NAMES = ("ci", "deploy", "drift", "environment", "plan", "retrain", "rollback")
WHERE = r"\$\{\{ (?P<where>[^}]+) \}\}"
ROLES = r"\$\{\{ env\.ROLES \}\}"
# a role and the GitHub environment that its trust names; those without one are bound to main or to pull requests
ENVIRONMENTS = {
    f"{ROLES}Role": None,
    f"{ROLES}-{WHERE}-plan": None,
    f"{ROLES}-{WHERE}-review": None,
    f"{ROLES}-{WHERE}-apply": "${{{{ {where} }}}}",
    f"{ROLES}-{WHERE}-jobs": "${{{{ {where} }}}}-models",
}


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
    assert name in ("ci", "plan") or loaded["concurrency"]["cancel-in-progress"] is False


def test_what_a_job_needs_exists_and_what_it_reads_of_others_is_said_there() -> None:
    for name, job, body in jobs():
        needed = [body["needs"]] if isinstance(body.get("needs"), str) else body.get("needs", [])
        siblings = workflow(name)["jobs"]
        assert set(needed) <= set(siblings), job
        for other, output in re.findall(r"needs\.([\w-]+)\.outputs\.(\w+)", json.dumps(body)):
            assert other in needed, f"{name}.{job} reads {other} without needing it"
            assert output in siblings[other]["outputs"], f"{name}.{job}: {other} has no output {output}"


def role_of(body: dict[str, Any]) -> str | None:
    """The role that a job assumes."""
    found = [
        step["with"]["role-to-assume"] for step in body.get("steps", []) if "role-to-assume" in step.get("with", {})
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_only_jobs_that_log_in_to_aws_get_a_token_and_each_in_its_environment() -> None:
    for name, job, body in jobs():
        role = role_of(body)
        # a called workflow gets no more than its caller has
        logs_in = role is not None or "environment.yml" in body.get("uses", "")
        allowed = {"contents": "read"} | ({"id-token": "write"} if logs_in else {})
        assert body.get("permissions", {"contents": "read"}) == allowed, f"{name}.{job}"
        if role is not None:
            (known,) = [(found, wanted) for one, wanted in ENVIRONMENTS.items() if (found := re.fullmatch(one, role))]
            found, wanted = known
            assert body.get("environment") == (wanted and wanted.format(**found.groupdict())), f"{name}.{job}"


def test_roles_are_those_of_the_environments_account_under_the_bootstraps_prefix() -> None:
    prefix = re.search(
        r'"github_role_prefix".*?default     = "(\w+)"', (BOOTSTRAP / "variables.tf").read_text(), re.DOTALL
    )
    assert prefix is not None
    for name, job, body in jobs():
        if (role := role_of(body)) is not None:
            account = "vars.AWS_ACCOUNT_ID"
            where = re.search(r"-\$\{\{ ([^}]+) \}\}-", role)
            # the image is built once, in the repository's own account
            if (name, job) != ("deploy", "build"):
                environment = where[1] if where else "inputs.environment"
                account = f"vars[format('AWS_ACCOUNT_ID_{{0}}', {environment})] || {account}"
            roles = f"arn:aws:iam::${{{{ {account} }}}}:role/${{{{ vars.ROLE_PREFIX || '{prefix[1]}' }}}}"
            assert {**workflow(name).get("env", {}), **body.get("env", {})}["ROLES"] == roles, f"{name}.{job}"


def test_credentials_last_as_long_as_the_job() -> None:
    """A job follows a training of hours; its role's longest session is in terraform/bootstrap/trust.tf."""
    trust = (BOOTSTRAP / "trust.tf").read_text()
    for name, job, body in jobs():
        for step in body.get("steps", []):
            if "role-to-assume" in step.get("with", {}):
                seconds = step["with"].get("role-duration-seconds", 3600)
                assert body["timeout-minutes"] * 60 <= seconds, f"{name}.{job}"
                kind = step["with"]["role-to-assume"].rpartition("-")[2]
                if kind in ("apply", "jobs"):
                    most = re.search(rf"-{kind}\" => .*?hours = (\d+)", trust, re.DOTALL)
                    assert most is not None
                    assert seconds <= int(most[1]) * 3600


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


def test_images_are_built_once_and_reach_staging_first() -> None:
    stages = workflow("deploy")["jobs"]
    assert {job: stages[job].get("needs") for job in stages} == {
        "ci": None,
        "build": "ci",
        "staging": "build",
        "production": ["build", "staging"],
    }
    for environment in ("staging", "production"):
        called = stages[environment]
        assert called["uses"] == "./.github/workflows/environment.yml"
        assert called["with"] == {"environment": environment, "digests": "${{ needs.build.outputs.digests }}"}
    (build,) = [step["run"] for step in stages["build"]["steps"] if step.get("id") == "push"]
    assert '--base "$BASE_IMAGE" --commit "$GITHUB_SHA"' in build


def test_a_reviewer_reads_the_plan_and_that_plan_is_applied() -> None:
    stages = workflow("environment")["jobs"]
    assert {job: stages[job].get("needs") for job in stages} == {
        "plan": None,
        "apply": "plan",
        "back": ["plan", "apply"],
    }
    # approved once, after the plan
    assert [job for job in stages if "environment" in stages[job]] == ["apply"]
    plan, apply = ("\n".join(step.get("run", "") for step in stages[job]["steps"]) for job in ("plan", "apply"))
    assert "terraform show -no-color plan.bin" in plan
    assert "GITHUB_STEP_SUMMARY" in plan
    assert apply.index("sha256sum --check") < apply.index("terraform apply -input=false plan.bin")
    # whoever reads the repository can download an artifact; the state's bucket is not open to them
    assert not any("upload-artifact" in step.get("uses", "") for job in stages.values() for step in job["steps"])


def test_a_deployment_is_over_when_the_new_image_alone_answers() -> None:
    stages = workflow("environment")["jobs"]
    commands = [step.get("run", "") for step in stages["apply"]["steps"]]
    order = [
        next(index for index, command in enumerate(commands) if words in command)
        for words in ("live_image.py show", "terraform apply", "live_image.py wait", "deploy/smoke.py")
    ]
    assert order == sorted(order)
    assert stages["back"]["if"].startswith("failure()")
    # what to go back to is asked of the service: Terraform's state may name an image that failed
    assert "live_image.py show" in commands[order[0]]
    assert "terraform" not in commands[order[0]].replace("terraform/environments", "")


def test_pull_requests_plan_without_secrets_and_the_night_compares_everything() -> None:
    (review,) = workflow("plan")["jobs"].values()
    assert "-review" in str(role_of(review))
    assert "-refresh=false" in review["steps"][-1]["run"]
    (night,) = workflow("drift")["jobs"].values()
    assert "-detailed-exitcode" in night["steps"][-1]["run"]
    for body in (review, night):
        assert body["strategy"]["matrix"]["environment"] == ["staging", "production"]
        assert "apply" not in body["steps"][-1]["run"]


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
