"""A job started as a task: its exit code comes back, and one that never ran is no success."""

from typing import Any

import boto3
import pytest

from deploy import run_job

NETWORK = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}
ARN = "arn:aws:ecs:eu-west-3:123456789012:task/fraud-detection/0123"


class Ecs:
    """ECS as far as a job needs it."""

    def __init__(self, container: dict[str, Any], failures: list[dict[str, str]] | None = None) -> None:
        self.asked: dict[str, Any] = {}
        self._failures = failures or []
        self._states = [
            {"lastStatus": "PENDING", "containers": []},
            {"lastStatus": "STOPPED", "containers": [container], "stoppedReason": "Essential container exited"},
        ]

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {"tasks": [] if self._failures else [{"taskArn": ARN}], "failures": self._failures}

    def describe_tasks(self, **_asked: Any) -> dict[str, Any]:
        return {"tasks": [self._states.pop(0)]}


def start(ecs: Ecs, monkeypatch: pytest.MonkeyPatch, job: str, *options: str) -> int:
    monkeypatch.setattr(boto3, "client", lambda _service: ecs)
    return run_job.run(job, list(options), "fraud-detection", NETWORK, pause=0)


@pytest.mark.parametrize("code", [0, 1, 4])
def test_the_jobs_exit_code_is_ours(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    ecs = Ecs({"exitCode": code})
    assert start(ecs, monkeypatch, "retrain") == code
    assert ecs.asked["taskDefinition"] == "fraud-detection-retrain"
    assert ecs.asked["networkConfiguration"]["awsvpcConfiguration"] == {**NETWORK, "assignPublicIp": "DISABLED"}
    assert ecs.asked["overrides"] == {}


def test_options_follow_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = Ecs({"exitCode": 0})
    assert start(ecs, monkeypatch, "rollback", "--reason", "too many alarms") == 0
    (override,) = ecs.asked["overrides"]["containerOverrides"]
    assert override["command"] == ["rollback", "--reason", "too many alarms"]


def test_a_task_without_an_exit_code_never_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(Ecs({"reason": "CannotPullContainerError"}), monkeypatch, "retrain") == run_job.NEVER_RAN


def test_no_room_for_the_task_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = Ecs({}, failures=[{"reason": "RESOURCE:MEMORY"}])
    assert start(ecs, monkeypatch, "retrain") == run_job.NEVER_RAN


def test_a_missing_network_is_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JOBS_NETWORK", "subnets=1")
    with pytest.raises(SystemExit) as ended:
        run_job.main(["retrain"])
    assert ended.value.code == 2
    assert "JOBS_NETWORK" in capsys.readouterr().err
