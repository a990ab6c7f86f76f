"""The commands of the AWS pages, pasted as they stand: shell, the AWS client's own parser, our scripts' parsers."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer import TyperException
from typer.main import get_command

from deploy import run_job
from pipelines.__main__ import app
from serving.__main__ import add_commands
from tests.terraform.pages import aws_client, commands, paste
from tests.terraform.terraform_cli import REPOSITORY

PAGES = ("aws.md", "aws-operate.md", "aws-restore.md")
DEAD = "http://127.0.0.1:9"
"""Nothing listens there: what comes as far as this has been parsed."""

AWS = f"""
import os, subprocess, sys
client = os.environ["REAL_AWS"]
dead = ["--endpoint-url", "{DEAD}", "--cli-connect-timeout", "2"]
done = subprocess.run([client, *sys.argv[1:], *dead], capture_output=True, text=True)
said = done.stdout + done.stderr
parsed = "Could not connect to the endpoint" in said or "Max attempts exceeded" in said
with open(os.environ["REFUSED" if not parsed else "PARSED"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + ("" if parsed else ": " + said) + chr(10))
answers = {{"describe-subnets": "one,two", "list-certificates": "arn:aws:acm:eu-west-3:123456789012:certificate/1"}}
print(next((answers[word] for word in sys.argv if word in answers), "answer"))
"""
OTHER = """
import json, os, sys
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + chr(10))
print('{"gateway": "sha256:' + "1" * 64 + '"}' if "-json" in sys.argv else "answer")
"""


@pytest.fixture(params=PAGES)
def pasted(request: pytest.FixtureRequest, quick_client: str, tmp_path: Path) -> Path:
    """A folder with what was asked of whom."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("terraform", "python", "python3", "gh", "git", "docker"):
        (programs / name).write_text(f"#!{sys.executable} -ISs{OTHER}")
    (programs / "aws").write_text(f"#!{sys.executable} -ISs{AWS}")
    if shutil.which("jq") is None:
        (programs / "jq").write_text("#!/bin/sh\ncat > /dev/null\necho answer\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    for name in ("staging", "production"):
        (tmp_path / "terraform" / "environments" / name).mkdir(parents=True)
    (tmp_path / "transactions.parquet").touch()
    environment = {
        **os.environ,
        "PATH": f"{programs}:/usr/bin:/bin",
        "REAL_AWS": quick_client,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **{name: str(tmp_path / name.lower()) for name in ("ASKED", "PARSED", "REFUSED")},
    }
    script = "set -eu\n" + commands(str(request.param))
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


@pytest.mark.slow
def test_every_command_is_understood(pasted: Path) -> None:
    refused = pasted / "refused"
    assert not refused.exists(), refused.read_text()
    for line in (pasted / "asked").read_text().splitlines():
        program, *words = json.loads(line)
        if program == "terraform":
            folder = words[0].removeprefix("-chdir=")
            assert (REPOSITORY / folder / "versions.tf").is_file(), words
            assert words[1] in ("init", "apply", "destroy", "import", "output", "plan", "providers", "state"), words
        if program == "python":
            assert (REPOSITORY / words[0]).is_file(), words
        if program == "python" and words[0] == "deploy/run_job.py":
            parse_job(words[3:] if words[1] == "--name" else words[1:])


def parse_job(words: list[str]) -> None:
    """Read a job's options as its own program does."""
    kind, options = run_job.kind_of(words)
    given = [*kind.before, *options]
    if kind.job == "create-key":
        given = ["keys", "create", *options]
    if kind.job in ("create-key", "gateway-operate"):
        parser = argparse.ArgumentParser()
        add_commands(parser)
        parser.parse_args(given)
    elif not kind.fixed:
        command: Any = get_command(app)
        while hasattr(command, "commands"):
            command, given = command.commands[given[0]], given[1:]
        command.make_context(words[0], given)


@pytest.mark.parametrize("words", ["promote --versions 7", "policy set cost --because x", "purge --older-than 400"])
def test_options_that_a_job_does_not_know_would_be_seen(words: str) -> None:
    with pytest.raises((SystemExit, TyperException)):
        parse_job(words.split())


def test_a_root_is_initialised_before_it_is_used() -> None:
    for page in PAGES:
        ready: set[str] = set()
        for root, verb in re.findall(r"terraform -chdir=(\S+) (\w+)", commands(page)):
            if verb == "init":
                ready.add(root)
            # which asks the registry, and needs nothing else
            assert root in ready or verb == "providers", f"{page}: {root} {verb}"


def test_the_operators_page_shows_every_command() -> None:
    shown = set(
        re.findall(
            r"run_job.py (?:--name \S+ )?(keys create|access key|[\w-]+)",
            (REPOSITORY / "docs" / "aws-operate.md").read_text(),
        )
    )
    assert set(run_job.KINDS) - {"main", "database", "compare"} <= shown


def test_broken_commands_would_be_seen(tmp_path: Path) -> None:
    """The one that this page once had: the JSON of a shorthand argument without its key."""
    command = [aws_client(), "ecs", "run-task", "--cluster", "c", "--task-definition", "t", "--network-configuration"]
    command += ['awsvpcConfiguration={"subnets": ["subnet-1"]}', "--endpoint-url", DEAD, "--region", "eu-west-3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Could not connect" not in done.stderr
    assert "Error parsing parameter" in done.stderr


@pytest.mark.slow
def test_a_restored_database_takes_the_old_ones_name(moto_endpoint: str, quick_client: str) -> None:
    """Steps 2 and 3 of the page, carried out by a simulated RDS, in a region without the platform of other tests."""
    region = "eu-central-1"
    keys = {"aws_access_key_id": "restore", "aws_secret_access_key": "restore", "region_name": region}
    ec2, rds, kms = (boto3.client(name, endpoint_url=moto_endpoint, **keys) for name in ("ec2", "rds", "kms"))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    ec2.create_security_group(GroupName="drill-database", Description="database", VpcId=vpc)
    rds.create_db_subnet_group(DBSubnetGroupName="drill", DBSubnetGroupDescription="two", SubnetIds=[subnet])
    rds.create_db_parameter_group(
        DBParameterGroupName="drill", DBParameterGroupFamily="postgres17", Description="settings"
    )
    rds.create_db_instance(
        DBInstanceIdentifier="drill",
        DBInstanceClass="db.t4g.small",
        Engine="postgres",
        MasterUsername="platform",
        ManageMasterUserPassword=True,
        AllocatedStorage=20,
    )
    kms.create_alias(AliasName="alias/drill", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_ACCESS_KEY_ID": "restore",
        "AWS_SECRET_ACCESS_KEY": "restore",
        "AWS_DEFAULT_REGION": region,
        "name": "drill",
    }
    paste(commands("aws-restore.md", "2. The moment", "4. Terraform"), quick_client, environment)
    instances = {one["DBInstanceIdentifier"]: one for one in rds.describe_db_instances()["DBInstances"]}
    assert instances.keys() >= {"drill", "drill-old"}
    # the restored one stands in two zones, as the page has it; the one that was made above does not
    assert [instances[name]["MultiAZ"] for name in ("drill", "drill-old")] == [True, False]
