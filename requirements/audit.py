"""Audit the locked requirements against the known vulnerabilities (``make audit``).

pip-audit ends with 1 both for findings and for a network that it cannot cross. Here 1 means findings alone, 69
(EX_UNAVAILABLE) a database that nobody reaches from here, and 2 anything else that kept it from an answer.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLEAN, FINDINGS, BROKEN, UNREACHABLE = 0, 1, 2, 69

FOLDER = Path(__file__).parent
FILES = [FOLDER / "gateway.txt", FOLDER / "pipelines.txt"]
SERVICE = "osv"
DATABASE = "https://api.osv.dev/v1/vulns/PYSEC-2021-76"
"""Any entry will do to see whether the service answers."""
_SECONDS = 10


def audited(command: list[str], reachable: Callable[[], str | None]) -> tuple[int, str]:
    """The exit code and what to tell.

    Parameters
    ----------
    command : list of str
        pip-audit, so that it writes JSON to standard output.
    reachable : callable
        Why the database cannot be reached; None if it can. Asked only where there is no answer.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own
    answer = _answer(done.stdout)
    if not answer or done.returncode not in (CLEAN, FINDINGS):
        reason = reachable()
        if reason is not None:
            return UNREACHABLE, f"The vulnerability database cannot be reached ({reason}): nothing was audited."
        return BROKEN, f"pip-audit ended with {done.returncode} and no answer:\n{done.stderr.strip()}"
    unknown = [each for each in answer if "skip_reason" in each]
    if unknown:
        return BROKEN, "\n".join(f"{each['name']} could not be audited: {each['skip_reason']}" for each in unknown)
    found = [(each, vulnerability) for each in answer for vulnerability in each["vulns"]]
    lines = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in {', '.join(vulnerability['fix_versions'])}"
        for each, vulnerability in found
    ]
    return (FINDINGS if found else CLEAN), "\n".join([*lines, f"{len(answer)} packages, {len(found)} vulnerabilities"])


def reachable() -> str | None:
    """Why the database cannot be reached; None if it can."""
    try:
        with urllib.request.urlopen(DATABASE, timeout=_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code < 400 else f"{DATABASE} answers {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error))


def _answer(text: str) -> list[dict[str, Any]] | None:
    try:
        return list(json.loads(text)["dependencies"])
    except (ValueError, KeyError, TypeError):
        return None


def main() -> int:
    """Audit every package of both files once."""
    options = ["--format", "json", "--progress-spinner", "off", "--disable-pip", "--require-hashes"]
    options += ["--vulnerability-service", SERVICE]
    files = [part for file in FILES for part in ("--requirement", str(file))]
    code, text = audited([sys.executable, "-m", "pip_audit", *options, *files], reachable)
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
