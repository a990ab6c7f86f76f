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


STAND_IN = """#!{python} -ISs
import json, os, sys
name = os.path.basename(sys.argv[0])
with open(os.environ["ASKED"], "a") as file:
    file.write(" ".join([name, *sys.argv[1:]]) + chr(10))
outputs = json.loads(os.environ["OUTPUTS"])
if name == "terraform" and "output" in sys.argv:
    values = {{key: {{"value": value}} for key, value in outputs.items()}}
    print(outputs[sys.argv[-1]] if "-raw" in sys.argv else json.dumps(values))
if name == "terraform" and "plan" in sys.argv:
    with open(os.environ["ASKED"], "a") as file:
        file.write(os.environ["TF_VAR_image_digests"] + chr(10))
    sys.exit(int(os.environ.get("PLANNED", "0")))
if name == "aws":
    sys.exit("no such secret") if os.environ.get("NO_KEY", "none") in " ".join(sys.argv) else print("a-key")
if name == "python3":
    print("asked with", os.environ["SMOKE_KEY"])
"""


def carry_out(
    folder: Path, step: dict[str, Any], outputs: dict[str, Any], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub does, with stand-ins for the programs that reach AWS; they write what was asked."""
    (folder / "terraform" / "environments" / "staging").mkdir(parents=True)
    programs = folder / "programs"
    programs.mkdir()
    for name in ("terraform", "aws", "python3"):
        (programs / name).write_text(STAND_IN.format(python=sys.executable))
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{Path(program('jq')).parent}:/usr/bin:/bin",
        "ASKED": str(folder / "asked"),
        "ENVIRONMENT": "staging",
        "NAME": "fraud-staging",
        "SMOKE_KEY_NAME": "smoke",
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "OUTPUTS": json.dumps(outputs),
        **variables,
    }
    command = ["bash", "-e", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


LIVE = {
    "models_live": "true",
    "private": "false",
    "url": "https://fraud.example.com",
    "bootstrap_key_secret": "fraud-staging/bootstrap-key",
}


def smoke_test(folder: Path, outputs: dict[str, Any], **variables: str) -> tuple[subprocess.CompletedProcess[str], str]:
    (step,) = [one for one in workflow("environment")["jobs"]["apply"]["steps"] if one.get("name") == "smoke test"]
    done = carry_out(folder, step, outputs, **variables)
    assert done.returncode == 0, done.stderr
    return done, (folder / "asked").read_text()


def test_a_deployment_asks_the_gateway_with_the_key_of_the_smoke_test(tmp_path: Path) -> None:
    done, asked = smoke_test(tmp_path, LIVE)
    assert "python3 deploy/smoke.py --url https://fraud.example.com" in asked
    assert "--secret-id fraud-staging/keys/smoke " in asked
    assert done.stdout.splitlines() == ["::add-mask::a-key", "asked with a-key"]


def test_before_it_has_a_key_the_smoke_test_takes_the_first_one(tmp_path: Path) -> None:
    done, asked = smoke_test(tmp_path, LIVE, NO_KEY="keys/smoke")
    assert "--secret-id fraud-staging/bootstrap-key " in asked
    assert done.stdout.splitlines()[-1] == "asked with a-key"


@pytest.mark.parametrize("reason", [{"models_live": "false"}, {"private": "true"}])
def test_nobody_asks_a_gateway_without_a_model_or_without_a_way_to_it(tmp_path: Path, reason: dict[str, str]) -> None:
    _done, asked = smoke_test(tmp_path, LIVE | reason)
    assert "smoke.py" not in asked


def test_every_output_that_a_workflow_reads_is_one_of_each_environment() -> None:
    read = {
        name
        for _where, step in steps()
        for found in re.findall(r"\$\(output (\w+)\)|\.(\w+)\.value", step.get("run", ""))
        for name in found
        if name
    }
    assert read >= {"models_live", "private", "url", "bootstrap_key_secret", "image_digests"}
    for environment in ("staging", "production"):
        outputs = (ROOT / "terraform" / "environments" / environment / "outputs.tf").read_text()
        assert read <= set(re.findall(r'^output "(\w+)"', outputs, re.MULTILINE)), environment


DIGESTS = {"gateway": "sha256:1", "pipelines": "sha256:2", "mlflow": "sha256:3"}


@pytest.mark.parametrize(("planned", "code"), [("0", 0), ("2", 2), ("1", 1)])
def test_a_night_with_drift_fails(tmp_path: Path, planned: str, code: int) -> None:
    (night,) = workflow("drift")["jobs"].values()
    done = carry_out(tmp_path, night["steps"][-1], {"image_digests": DIGESTS}, PLANNED=planned)
    assert done.returncode == code, done.stderr
    assert json.dumps(DIGESTS, separators=(",", ":")) in (tmp_path / "asked").read_text()
    assert f"exit code {planned}" in (tmp_path / "summary").read_text()


def test_before_the_first_deployment_nothing_drifts_and_a_pull_request_shows_everything(tmp_path: Path) -> None:
    (night,), (review,) = workflow("drift")["jobs"].values(), workflow("plan")["jobs"].values()
    done = carry_out(tmp_path / "night", night["steps"][-1], {})
    assert (done.returncode, (tmp_path / "night" / "summary").read_text()) == (0, "staging is not deployed yet\n")
    done = carry_out(tmp_path / "review", review["steps"][-1], {})
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "review" / "asked").read_text().splitlines()[-1]) == dict.fromkeys(
        DIGESTS, f"sha256:{'0' * 64}"
    )


def test_no_line_is_too_long() -> None:
    for file in (*FOLDER.iterdir(), *(ROOT / "deploy").glob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            assert len(line) <= 120, f"{file.name}:{number}"


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
