"""Run one command of the platform as an ECS task, wait for its end, show its lines, and end with its exit code.

Operators and workflows need no way to MLflow or the database: the task runs inside the network, with the jobs' roles.

    python deploy/run_job.py retrain
    python deploy/run_job.py --name fraud-staging history
    python deploy/run_job.py rollback --reason "false alarms doubled" --to 12
    python deploy/run_job.py keys create --name till-1 --scope predict

What follows the command are its own options. The history of moves names who runs this, as AWS knows them (--user says
another). Exit codes: the job's own (0 done, 1 refused, 3 lost a race, ...), 70 where it had none.
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import boto3

NEVER_RAN: Final = 70
_PAUSE: Final = 5.0
_LOG_SECONDS: Final = 20.0
"""CloudWatch shows a task's last lines some seconds after its end."""


@dataclass(frozen=True)
class Kind:
    """How a command is run: which task definition, and what goes before its options.

    Attributes
    ----------
    job : str
        The task definition's family after the platform's prefix.
    before : tuple of str
        Beginning of the container's command; its entry point is the definition's.
    log_group : str
        The log group after ``/ecs/<platform>/``.
    fixed : bool
        Whether the definition's own command is left as it is; there are no options then.
    """

    job: str
    before: tuple[str, ...] = ()
    log_group: str = "jobs"
    fixed: bool = False


_OWN_DEFINITION: Final = ("main", "retrain", "monitor", "rollback")
_OPERATE: Final = ("promote", "approve", "policy", "history", "verify", "compare")
_GATEWAY: Final = ("keys", "purge", "replay")

KINDS: Final[dict[str, Kind]] = {
    **{name: Kind(name, (name,)) for name in _OWN_DEFINITION},
    **{name: Kind("operate", (name,)) for name in _OPERATE},
    **{name: Kind("gateway-operate", (name,)) for name in _GATEWAY},
    # a new key is printed once: this job puts it into Secrets Manager instead of a log
    "keys create": Kind("create-key"),
    # who may do what in MLflow is its administrator's; the key to sign with is the promotion's
    "access": Kind("access", ("access",)),
    "access key": Kind("operate", ("access", "key")),
    "database": Kind("database", log_group="setup", fixed=True),
    "mlflow-setup": Kind("mlflow-setup", log_group="setup", fixed=True),
}


class JobError(Exception):
    """A command, or a platform, that there is not."""


class NotStartedError(Exception):
    """Why ECS did not start the task."""


def kind_of(words: list[str]) -> tuple[Kind, list[str]]:
    """The kind of a command line, and the options that follow its name.

    Raises
    ------
    JobError
        When there is no such command, or it takes no options.
    """
    rest = [word for index, word in enumerate(words) if not (word == "--" and index == 1)]
    for length in (2, 1):
        kind = KINDS.get(" ".join(rest[:length]))
        if kind is not None:
            options = rest[length:]
            if kind.fixed and options:
                raise JobError(f"{rest[0]} takes no options")
            return kind, options
    raise JobError(f"there is no command {rest[0]}; there are {', '.join(sorted(KINDS))}")


def find_network(name: str) -> dict[str, Any]:
    """The jobs' subnets and security group, by the names that Terraform gives them.

    Raises
    ------
    JobError
        When there is no such platform in this account and region.
    """
    client = boto3.client("ec2")
    subnets = client.describe_subnets(Filters=[{"Name": "tag:Name", "Values": [f"{name}-private-*"]}])["Subnets"]
    filters = [{"Name": "group-name", "Values": [f"{name}-jobs"]}]
    groups = client.describe_security_groups(Filters=filters)["SecurityGroups"]
    if not subnets or not groups:
        raise JobError(f"there is no platform {name} in {client.meta.region_name}: see --name and AWS_DEFAULT_REGION")
    return {
        "subnets": sorted(subnet["SubnetId"] for subnet in subnets),
        "securityGroups": [group["GroupId"] for group in groups],
        "assignPublicIp": "DISABLED",
    }


def caller() -> str:
    """The name under which AWS knows the caller: that of a user or of a role's session."""
    return str(boto3.client("sts").get_caller_identity()["Arn"].rpartition("/")[2])


def start(kind: Kind, options: list[str], name: str, user: str) -> str:
    """Start the task and return its ARN.

    Raises
    ------
    JobError
        When there is no such platform.
    NotStartedError
        When ECS has no room for it, or lacks something of it.
    """
    override: dict[str, Any] = {"name": "job"}
    if not kind.fixed:
        override["command"] = [*kind.before, *options]
        override["environment"] = [{"name": "FRAUD_USER", "value": user}]
    started = boto3.client("ecs").run_task(
        cluster=name,
        taskDefinition=f"{name}-{kind.job}",
        launchType="FARGATE",
        startedBy=re.sub(r"[^A-Za-z0-9_/-]", "-", user)[:36],
        propagateTags="TASK_DEFINITION",
        enableECSManagedTags=True,
        networkConfiguration={"awsvpcConfiguration": find_network(name)},
        overrides={} if kind.fixed else {"containerOverrides": [override]},
    )
    if not started["tasks"]:
        raise NotStartedError(f"{kind.job} could not be started: {started['failures']}")
    return str(started["tasks"][0]["taskArn"])


def wait(arn: str, name: str, pause: float = _PAUSE) -> tuple[int, str]:
    """Wait for a task's end; its exit code, and why it stopped."""
    client = boto3.client("ecs")
    while (task := client.describe_tasks(cluster=name, tasks=[arn])["tasks"][0])["lastStatus"] != "STOPPED":
        time.sleep(pause)
    container = task["containers"][0] if task["containers"] else {}
    code = container.get("exitCode")
    reason = " ".join(filter(None, [task.get("stoppedReason"), container.get("reason")]))
    return NEVER_RAN if code is None else int(code), reason


def lines(group: str, stream: str, seconds: float = _LOG_SECONDS) -> list[str]:
    """What a task wrote; none where it never came to write, or the caller may not read it."""
    client = boto3.client("logs")
    deadline = time.monotonic() + seconds
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                return [f"(its lines cannot be read: {error.response['Error']['Code']})"]
            page = {"events": [], "nextForwardToken": ""}
        found += [str(event["message"]) for event in page["events"]]
        at_end = page["nextForwardToken"] in ("", token.get("nextToken"))
        if at_end and (found or time.monotonic() >= deadline):
            return found
        if at_end:
            time.sleep(2.0)
        token = {"nextToken": page["nextForwardToken"]} if page["nextForwardToken"] else {}


def run(words: list[str], name: str, user: str = "", pause: float = _PAUSE, log_seconds: float = _LOG_SECONDS) -> int:
    """Run one command and return its exit code.

    Raises
    ------
    JobError, NotStartedError
        When it cannot be started.
    """
    kind, options = kind_of(words)
    arn = start(kind, options, name, user or caller())
    group, stream = f"/ecs/{name}/{kind.log_group}", f"{kind.job}/job/{arn.rpartition('/')[2]}"
    sys.stderr.write(f"{kind.job} runs as {arn}; its lines: log group {group}, stream {stream}\n")
    code, reason = wait(arn, name, pause)
    sys.stdout.writelines(f"{line}\n" for line in lines(group, stream, log_seconds))
    sys.stderr.write(f"{kind.job} ended with {code}: {reason}\n")
    return code


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="fraud-detection", help="the platform's prefix (fraud-detection)")
    parser.add_argument("--user", default="", help="who moves a model, for its history; else as AWS knows the caller")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a command and its options")
    arguments = parser.parse_args(argv)
    if not arguments.command:
        parser.error(f"which command? {', '.join(sorted(KINDS))}")
    try:
        return run(arguments.command, arguments.name, arguments.user)
    except JobError as error:
        parser.error(str(error))
    except NotStartedError as error:
        sys.stderr.write(f"{error}\n")
        return NEVER_RAN


if __name__ == "__main__":
    sys.exit(main())
