"""The public data set from Kaggle, fetched by Kaggle's client in a subprocess.

The client authenticates at import, may call ``exit`` there, and can wait for minutes on a network that swallows
packets. A subprocess in its own process group survives the first and can be ended in the second.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from ml_project.errors import InvalidInput, Unavailable

DATASET: Final = "mlg-ulb/creditcardfraud"
FILE: Final = "creditcard.csv"
SHA256: Final = "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89"
COMMAND: Final = (sys.executable, "-m", "kaggle", "datasets", "download", DATASET, "--unzip", "--quiet", "--path")
"""Downloads the data set into the folder given as one more argument; needs no account, uses one where it is set up."""

_POLL_SECONDS: Final = 0.1
_REMEDY: Final = "Check the network and Kaggle's credentials, or give --data a file, or --data simulated."


def cached(cache: Path, *, sha256: str = SHA256) -> Path | None:
    """The file of an earlier download, if there is one.

    Raises
    ------
    InvalidInput
        If it is not the file that was downloaded.
    """
    path = cache / FILE
    if not path.is_file():
        return None
    _verify(path, sha256, f"Delete {path} and run again.")
    return path


def download(cache: Path, *, timeout: float, command: Sequence[str] = COMMAND, sha256: str = SHA256) -> Path:
    """Download the data set into the cache.

    Parameters
    ----------
    cache : Path
        Folder; only a complete file with the right digest appears there.
    timeout : float
        Seconds without any progress (from the start, or since the last bytes) after which the client is ended.
    command : sequence of str
        The client; the folder to download into is appended.
    sha256 : str
        Expected digest.

    Raises
    ------
    Unavailable
        If Kaggle cannot be reached or refuses.
    InvalidInput
        If the download is not the expected file.
    """
    cache.mkdir(parents=True, exist_ok=True)
    # Inside the cache, so that the last step is a rename on one file system.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".kaggle-") as folder, tempfile.TemporaryFile() as errors:
        _run([*command, folder], Path(folder), errors, timeout)
        path = Path(folder) / FILE
        if not path.is_file():
            raise Unavailable(f"Kaggle's client did not download {FILE}{_said(errors)}.", _REMEDY)
        _verify(path, sha256, "The data set has changed or the download was tampered with: give --data a file.")
        return path.replace(cache / FILE)


def _run(command: Sequence[str], folder: Path, errors: IO[bytes], timeout: float) -> None:
    client = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
    )
    try:
        size, deadline = 0, time.monotonic() + timeout
        while client.poll() is None:
            grown = _size(folder)
            if grown != size:
                size, deadline = grown, time.monotonic() + timeout
            if time.monotonic() > deadline:
                raise Unavailable(f"Kaggle sent nothing for {timeout:g} seconds.", _REMEDY)
            time.sleep(_POLL_SECONDS)
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()
    if client.returncode:
        raise Unavailable(f"Kaggle's client failed with exit code {client.returncode}{_said(errors)}.", _REMEDY)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # the client has just renamed or removed it
            continue
    return total


def _said(errors: IO[bytes]) -> str:
    """The client's last line of output, which names the reason."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:120].rstrip('.')}" if lines else ""


def _verify(path: Path, expected: str, remedy: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise InvalidInput(f"{path.name} of {DATASET} has SHA-256 {actual}, not {expected}.", remedy)
