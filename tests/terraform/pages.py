"""The commands of the AWS pages as they stand there, and the AWS client that they are for."""

import os
import re
import shutil
import subprocess

from tests.support.machine import missing
from tests.terraform.terraform_cli import REPOSITORY


def commands(page: str, begin: str = "", end: str = "") -> str:
    """The shell blocks of a page of docs/, or those between two of its sentences."""
    text = (REPOSITORY / "docs" / page).read_text()
    part = text[text.index(begin) : text.index(end) if end else len(text)]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL))


def aws_client() -> str:
    """The AWS client (AWS_CLIENT names its program): it pins other packages than the project, so it lives apart."""
    found = os.environ.get("AWS_CLIENT") or shutil.which("aws") or missing("the AWS client")
    # a shim of pyenv's would look for a version
    version = subprocess.run([found, "--version"], capture_output=True, text=True)
    if version.returncode != 0:
        missing("the AWS client")
    return found


def paste(script: str, environment: dict[str, str], seconds: float = 500) -> None:
    """Run commands of a page with the real AWS client; the first that fails ends them and the test."""
    program = f'set -eu\naws() {{ "{aws_client()}" "$@"; }}\n{script}'
    done = subprocess.run(["bash", "-c", program], env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
