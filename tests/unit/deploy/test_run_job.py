"""A command as a task: what is run, with which network and user, what it said, and how it ended."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from deploy import run_job

NAME = "fraud-detection"
ARN = f"arn:aws:ecs:eu-west-3:123456789012:task/{NAME}/0123"
NETWORK = {"subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}


class Aws:
    """ECS, EC2, STS and CloudWatch Logs as far as a job needs them."""

    class exceptions:  # noqa: N801 - as boto3 names it
        ClientError = ClientError

    class meta:  # noqa: N801 - as boto3 names it
        region_name = "eu-west-3"

    def __init__(self, container: dict[str, Any], *, failures: list[dict[str, str]] | None = None) -> None:
        self.asked: dict[str, Any] = {}
        self.subnets = [{"SubnetId": "subnet-2"}, {"SubnetId": "subnet-1"}]
        self.lines = ["first", "second"]
        self._failures = failures or []
        self._states = [
            {"lastStatus": "PENDING", "containers": []},
            {"lastStatus": "STOPPED", "containers": [container], "stoppedReason": "Essential container exited"},
        ]

    def describe_subnets(self, **asked: Any) -> dict[str, Any]:
        assert asked["Filters"][0]["Values"] == [f"{NAME}-private-*"]
        return {"Subnets": self.subnets}

    def describe_security_groups(self, **asked: Any) -> dict[str, Any]:
        assert asked["Filters"][0]["Values"] == [f"{NAME}-jobs"]
        return {"SecurityGroups": [{"GroupId": "sg-1"}]}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/Operators/jane.doe@bank.example"}

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {"tasks": [] if self._failures else [{"taskArn": ARN}], "failures": self._failures}

    def describe_tasks(self, **_asked: Any) -> dict[str, Any]:
        return {"tasks": [self._states.pop(0)]}

    def get_log_events(self, **asked: Any) -> dict[str, Any]:
        self.asked["stream"] = (asked["logGroupName"], asked["logStreamName"])
        if "nextToken" in asked:
            return {"events": [], "nextForwardToken": asked["nextToken"]}
        return {"events": [{"message": line} for line in self.lines], "nextForwardToken": "f/1"}


def start(aws: Aws, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(boto3, "client", lambda _service: aws)
    return run_job.run(list(words), NAME, pause=0, log_seconds=0)


@pytest.mark.parametrize("code", [0, 1, 4])
def test_the_jobs_exit_code_is_ours(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    aws = Aws({"exitCode": code})
    assert start(aws, monkeypatch, "retrain") == code
    assert aws.asked["taskDefinition"] == "fraud-detection-retrain"
    assert aws.asked["networkConfiguration"]["awsvpcConfiguration"] == NETWORK
    assert aws.asked["propagateTags"] == "TASK_DEFINITION"


@pytest.mark.parametrize(
    ("words", "definition", "command"),
    [
        ("rollback --reason x --to 12", "rollback", "rollback --reason x --to 12"),
        ("rollback -- --reason x", "rollback", "rollback --reason x"),
        ("promote --version 7 --expect-current 6", "operate", "promote --version 7 --expect-current 6"),
        ("approve 7 --reason x", "operate", "approve 7 --reason x"),
        ("policy set cost", "operate", "policy set cost"),
        ("history --json", "operate", "history --json"),
        ("verify", "operate", "verify"),
        ("keys list", "gateway-operate", "keys list"),
        ("keys revoke --name till-1", "gateway-operate", "keys revoke --name till-1"),
        ("keys create --name till-1 --scope predict", "create-key", "--name till-1 --scope predict"),
        (
            "purge --older-than 400d --to s3://b/exports",
            "gateway-operate",
            "purge --older-than 400d --to s3://b/exports",
        ),
    ],
)
def test_a_command_runs_where_its_program_is(
    monkeypatch: pytest.MonkeyPatch, words: str, definition: str, command: str
) -> None:
    aws = Aws({"exitCode": 0})
    assert start(aws, monkeypatch, *words.split()) == 0
    assert aws.asked["taskDefinition"] == f"{NAME}-{definition}"
    (override,) = aws.asked["overrides"]["containerOverrides"]
    assert override["command"] == command.split()
    # the history of moves names a person, not the container's user
    assert override["environment"] == [{"name": "FRAUD_USER", "value": "jane.doe@bank.example"}]
    assert aws.asked["startedBy"] == "jane-doe-bank-example"


@pytest.mark.parametrize("job", ["database", "mlflow-setup"])
def test_the_setup_is_left_as_it_is_defined(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    aws = Aws({"exitCode": 0})
    assert start(aws, monkeypatch, job) == 0
    assert aws.asked["overrides"] == {}
    assert aws.asked["stream"] == ("/ecs/fraud-detection/setup", f"{job}/job/0123")
    with pytest.raises(run_job.JobError, match="takes no options"):
        run_job.run([job, "--verbose"], NAME)


def test_what_the_job_said_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(Aws({"exitCode": 0}), monkeypatch, "history") == 0
    assert capsys.readouterr().out == "first\nsecond\n"


def test_a_task_without_an_exit_code_never_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(Aws({"reason": "CannotPullContainerError"}), monkeypatch, "retrain") == run_job.NEVER_RAN
    assert "CannotPullContainerError" in capsys.readouterr().err


def test_no_room_for_the_task_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = Aws({}, failures=[{"reason": "RESOURCE:MEMORY"}])
    monkeypatch.setattr(boto3, "client", lambda _service: aws)
    assert run_job.main(["retrain"]) == run_job.NEVER_RAN
    assert "RESOURCE:MEMORY" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["retrains"]])
def test_another_command_is_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_job.main(words)
    assert ended.value.code == 2
    assert "keys create" in capsys.readouterr().err


def test_another_platform_is_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    aws = Aws({})
    aws.subnets = []
    monkeypatch.setattr(boto3, "client", lambda _service: aws)
    with pytest.raises(SystemExit) as ended:
        run_job.main(["history"])
    assert ended.value.code == 2
    assert "there is no platform fraud-detection in eu-west-3" in capsys.readouterr().err


PROGRAM = Path(__file__).resolve().parents[3] / "terraform" / "modules" / "jobs" / "create_key.py"
STAND_IN = """
import sys
from pathlib import Path
Path("asked").open("a").write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[2] == "create":
    print("a-key-shown-once")
"""

WITH_MOTO = """
import boto3, moto
with moto.mock_aws():
    exec({program!r})
    print(boto3.client("secretsmanager").get_secret_value(SecretId="bank/keys/till-1")["SecretString"])
"""


def create_key(folder: Path, *arguments: str, aws: bool) -> subprocess.CompletedProcess[str]:
    """The job as ECS runs it, with a stand-in for ``python -m serving`` and moto for Secrets Manager."""
    (folder / "serving").mkdir()
    (folder / "serving" / "__main__.py").write_text(STAND_IN)
    program = PROGRAM.read_text()
    code = WITH_MOTO.format(program=program.replace("sys.exit(main", "(main"))
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "KEY_SECRETS_PREFIX": "bank/keys/",
        "KEY_SECRETS_KMS": "alias/bank",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
    }
    if aws:
        del environment["AWS_ENDPOINT_URL"]
    command = [sys.executable, "-W", "ignore", "-c", code if aws else program, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_new_key_is_in_secrets_manager_and_in_no_log(tmp_path: Path) -> None:
    done = create_key(tmp_path, "--name", "till-1", "--scope", "predict", aws=True)
    assert done.returncode == 0, done.stderr
    said, kept = done.stdout.splitlines()
    assert said == "The key till-1 is in Secrets Manager as bank/keys/till-1"
    assert kept == "a-key-shown-once"
    assert (tmp_path / "asked").read_text() == "keys create --name till-1 --scope predict\n"


def test_a_key_that_cannot_be_stored_is_revoked(tmp_path: Path) -> None:
    done = create_key(tmp_path, "--name", "till-1", "--scope", "predict", aws=False)
    assert done.returncode == 1
    assert "a-key-shown-once" not in done.stdout + done.stderr
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "keys revoke --name till-1"


def test_the_network_is_found_by_terraforms_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        client = boto3.client("ec2")
        vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        tags = [{"ResourceType": "subnet", "Tags": [{"Key": "Name", "Value": f"{NAME}-private-eu-west-3a"}]}]
        made = client.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", TagSpecifications=tags)["Subnet"]["SubnetId"]
        group = client.create_security_group(GroupName=f"{NAME}-jobs", Description="jobs", VpcId=vpc)["GroupId"]
        assert run_job.find_network(NAME) == {
            "subnets": [made],
            "securityGroups": [group],
            "assignPublicIp": "DISABLED",
        }
        with pytest.raises(run_job.JobError, match="no platform fraud in eu-west-3"):
            run_job.find_network("fraud")
