"""Resolve the dependency groups of pyproject.toml into requirements/*.txt, and the pins of one into conda.yaml."""

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
GROUPS = ("dev", "gateway", "pipelines", "spark", "evidently")
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-annotate", "--no-header"),
)

_CONDA = """# The environment of the MLflow project: the pins of requirements/pipelines.txt, written by `make lock`.
name: fraud-platform
channels:
  - conda-forge
dependencies:
  - python>=3.11,<3.14
  - pip
  - pip:
"""


def pins(requirements: str) -> list[str]:
    """``name==version ; marker`` of every requirement, without hashes."""
    return [line.removesuffix(" \\").strip() for line in requirements.splitlines() if re.match(r"[A-Za-z0-9]", line)]


def conda_environment(requirements: str) -> str:
    """conda.yaml with the pins of a requirements file."""
    return _CONDA + "".join(f'    - "{pin}"\n' for pin in pins(requirements))


def main() -> None:
    """Write every lock file; the widest group first, which constrains the others."""
    for group in GROUPS:
        constraint = [] if group == GROUPS[0] else ["--constraint", str(FOLDER / f"{GROUPS[0]}.txt")]
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *OPTIONS, *constraint]
        target = [
            "--group",
            f"{FOLDER.parent / 'pyproject.toml'}:{group}",
            "--output-file",
            str(FOLDER / f"{group}.txt"),
        ]
        subprocess.run([*command, *target], check=True)  # noqa: S603 - our own command
    (FOLDER.parent / "conda.yaml").write_text(conda_environment((FOLDER / "pipelines.txt").read_text()))


if __name__ == "__main__":
    main()
