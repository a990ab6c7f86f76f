"""The commands of the AWS pages as they stand there, and the AWS client that they are for."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.machine import missing
from tests.terraform import aws_forks
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


@contextmanager
def quick_aws_client(folder: Path) -> Iterator[str]:
    """A program that does what the AWS client does, without its second of imports; the client itself if it is a binary.

    Only for commands that come one after another.
    """
    client = aws_client()
    first, _, _ = Path(client).read_bytes()[:200].partition(b"\n")
    if not first.startswith(b"#!") or b"python" not in first:
        yield client
        return
    address, program = folder / "socket", folder / "aws"
    process = subprocess.Popen([first[2:].decode().strip(), aws_forks.__file__, str(address)])
    try:
        while not address.exists():
            assert process.poll() is None, "the AWS client did not start"
            time.sleep(0.05)
        program.write_text(aws_forks.PROGRAM.format(python=sys.executable, address=str(address)))
        program.chmod(0o755)
        yield str(program)
    finally:
        process.kill()
        process.wait()


def paste(script: str, client: str, environment: dict[str, str], seconds: float = 500) -> None:
    """Run commands of a page with an AWS client; the first that fails ends them and the test."""
    program = f'set -eu\naws() {{ "{client}" "$@"; }}\n{script}'
    done = subprocess.run(["bash", "-c", program], env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
