"""Start a job as an ECS task, wait for its end, and end with its exit code: workflows need no way to MLflow.

    python deploy/run_job.py retrain
    python deploy/run_job.py rollback -- --reason "false alarms doubled" --to 12

What follows ``--`` are options of ``python -m pipelines <job>``. Subnets and security group come from JOBS_NETWORK, the
Terraform output ``jobs_network``. Exit codes: the job's own (0 done, 1 refused, 3 lost a race, ...), 70 where it had
none.
"""

import argparse
import json
import os
import sys
import time
from typing import Any, Final

import boto3

JOBS: Final = ("main", "retrain", "rollback")
NEVER_RAN: Final = 70
_PAUSE: Final = 10.0


def run(job: str, options: list[str], name: str, network: dict[str, list[str]], pause: float = _PAUSE) -> int:
    """Run one job and return its exit code."""
    client = boto3.client("ecs")
    overrides: dict[str, Any] = {}
    if options:
        overrides = {"containerOverrides": [{"name": "job", "command": [job, *options]}]}
    started = client.run_task(
        cluster=name,
        taskDefinition=f"{name}-{job}",
        launchType="FARGATE",
        startedBy="github",
        networkConfiguration={"awsvpcConfiguration": {**network, "assignPublicIp": "DISABLED"}},
        overrides=overrides,
    )
    if not started["tasks"]:
        sys.stderr.write(f"{job} could not be started: {started['failures']}\n")
        return NEVER_RAN
    arn = started["tasks"][0]["taskArn"]
    stream = f"{job}/job/{arn.split('/')[-1]}"
    sys.stdout.write(f"{job} runs as {arn}; its lines: log group /ecs/{name}/jobs, stream {stream}\n")
    while (task := client.describe_tasks(cluster=name, tasks=[arn])["tasks"][0])["lastStatus"] != "STOPPED":
        time.sleep(pause)
    code = task["containers"][0].get("exitCode") if task["containers"] else None
    sys.stdout.write(f"{job} ended with {code}: {task.get('stoppedReason', '')}\n")
    return NEVER_RAN if code is None else int(code)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("options", nargs="*", help="options of the job, after --")
    parser.add_argument("--name", default="fraud-detection", help="the platform's prefix")
    arguments = parser.parse_args(argv)
    try:
        network = json.loads(os.environ["JOBS_NETWORK"])
    except (KeyError, ValueError):
        parser.error("JOBS_NETWORK is missing or no JSON: set it to the Terraform output jobs_network")
    return run(arguments.job, arguments.options, arguments.name, network)


if __name__ == "__main__":
    sys.exit(main())
