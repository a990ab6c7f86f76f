"""Images built and containers run without a daemon, by buildah and podman as root, on a Debian base made here.

This machine's certificates and package index stand in that base alone, never in an image's recipe.
"""

import ast
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.machine import ROOT, missing

BASE = "localhost/fraud-test-base"
USER = "54321:0"
"""Nobody whom an image knows, as OpenShift would choose; in group 0."""

_PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
_DEBIAN_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_INDEX_SETTINGS = ("index-url", "trusted-host", "proxy", "default-timeout")
_RUN = (
    *("podman", "--runtime", "runc", "run", "--network", "host"),
    *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768"),
    *("--user", USER, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
_SCRATCH = ("--tmpfs", "/tmp")


def require_programs() -> None:
    """Skip where containers cannot be built."""
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            missing(f"{program} (apt-get install {' '.join(_PROGRAMS)})")
    if os.geteuid() != 0:
        missing("root, which debootstrap and podman need")


def execute(*command: str, seconds: float = 1800) -> str:
    """Run a command; its standard output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def make_base() -> None:
    """Debian with Python, unless a former run has left it."""
    if execute("buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        execute("debootstrap", "--variant=minbase", f"--include={_DEBIAN_PACKAGES}", "bookworm", str(root))
        (root / "usr/bin/python").symlink_to("python3")
        shutil.rmtree(root / "var/cache/apt")
        certificates = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        shutil.copy(str(certificates), root / "etc/ssl/certs/ca-certificates.crt")
        (root / "etc/pip.conf").write_text(_pip_settings())
        container = execute("buildah", "from", "scratch")
        execute("buildah", "add", "--quiet", container, str(root), "/")
        execute("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", container)
        execute("buildah", "commit", "--quiet", "--rm", container, BASE)


def _pip_settings() -> str:
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    for line in execute(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        setting = name.rpartition(".")[2]
        if setting in _INDEX_SETTINGS:
            lines.append(f"{setting} = {ast.literal_eval(value)}")
    return "\n".join(lines) + "\n"


def build(name: str, commit: str) -> str:
    """Build docker/<name>.Dockerfile; the image's name. Layers of former runs are taken again."""
    image = f"localhost/fraud-test-{name}"
    arguments = ("--build-arg", f"BASE_IMAGE={BASE}", "--build-arg", f"COMMIT={commit}")
    command = ("buildah", "bud", "--isolation", "chroot", "--layers", "--format", "docker", *arguments)
    execute(*command, "-f", f"docker/{name}.Dockerfile", "-t", image, ".")
    return image


def run_once(image: str, *command: str, options: tuple[str, ...] = (), scratch: tuple[str, ...] = _SCRATCH) -> str:
    """Run a container to its end; what it wrote. Without ``scratch`` it has the volumes that its image declares."""
    return execute(*_RUN, "--rm", "--no-healthcheck", *scratch, *options, image, *command)


class Container:
    """A server in a container, removed with the block; /state is all that lasts as long as it does."""

    def __init__(self, image: str, environment: dict[str, str], *options: str) -> None:
        variables = [argument for name, value in environment.items() for argument in ("--env", f"{name}={value}")]
        state = ("--tmpfs", "/state:mode=0770")
        # without systemd podman starts no health checks: `healthy` does
        self._id = execute(*_RUN, *_SCRATCH, "--detach", *state, *variables, *options, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stdout.write(self.logs())
        execute("podman", "rm", "--force", "--time", "0", self._id)

    def logs(self) -> str:
        """What it wrote so far, errors too."""
        done = subprocess.run(
            ["podman", "logs", self._id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def healthy(self) -> bool:
        """What the image's own health check says."""
        done = subprocess.run(["podman", "healthcheck", "run", self._id], capture_output=True)
        return done.returncode == 0

    def changed(self) -> set[str]:
        """Paths below the root that differ from the image."""
        return {line.split()[1] for line in execute("podman", "diff", self._id).splitlines()}

    def memory_limit(self) -> int:
        """In bytes, as the runtime was told."""
        return int(self._inspect()["HostConfig"]["Memory"])

    def stop(self, seconds: int = 60) -> int:
        """SIGTERM, as an orchestrator sends it; the exit code."""
        execute("podman", "stop", "--time", str(seconds), self._id)
        return int(self._inspect()["State"]["ExitCode"])

    def _inspect(self) -> dict[str, Any]:
        return dict(json.loads(execute("podman", "inspect", self._id))[0])
