"""The output of a job: a staging folder in which a job can be continued, and the commit that makes it the output.

A local commit is one rename. S3 has none: there the files move one by one, ``_job.json`` comes last, and a commit that
was cut short is finished by the next execution.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from ml_project.errors import InvalidInput, LostRace, Unavailable
from pipelines.scoring.parts import RECEIPTS
from pipelines.scoring.places import LocalPlace, Place, S3Place, s3_address
from pipelines.scoring.plan import ScoringPlan
from stores.files import sync_folder
from stores.objects import MissingObject, is_s3

JOB_FILE: Final = "_job.json"
_STARTED: Final = "_started.json"


class Output(Protocol):
    """The output of one job."""

    staging: Place

    def finished(self) -> dict[str, Any] | None:
        """The ``_job.json`` of the finished output; None where there is none."""

    def alone(self) -> Any:
        """A context manager that keeps other processes from writing here (local folders only; raises `LostRace`)."""

    def begin(self, plan: ScoringPlan) -> bool:
        """Prepare the staging folder, and say whether an earlier execution of the same job left parts there.

        Unfinished files of another job are removed.
        """

    def commit(self, job: dict[str, Any]) -> None:
        """Make the staged files the output."""


class LocalOutput:
    """A local folder; see `Output`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._staged = self._folder.with_name(f".{self._folder.name}.scoring")
        self.staging: Place = LocalPlace(self._staged)

    def finished(self) -> dict[str, Any] | None:
        """Raises `InvalidInput` where there are other files."""
        if not self._folder.exists() or (self._folder.is_dir() and not any(self._folder.iterdir())):
            return None
        try:
            return _job(LocalPlace(self._folder).read(JOB_FILE))
        except (MissingObject, Unavailable) as error:
            raise InvalidInput(f"{self._folder} holds other files.", "Give another --output.") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """An operating system's lock on the staging folder, which ends with its process."""
        try:
            self._staged.mkdir(parents=True, exist_ok=True)
            folder = os.open(self._staged, os.O_RDONLY)
        except OSError as error:
            raise InvalidInput(f"{self._folder} cannot be created ({error.strerror}).", "Check --output.") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise LostRace(f"Another one writes to {self._folder}.", "Wait for it, or stop it.") from error
        finally:
            os.close(folder)
            with suppress(OSError):  # fails, as it should, where an unfinished job left files
                self._staged.rmdir()

    def begin(self, plan: ScoringPlan) -> bool:
        """Compares the fingerprints of the plans."""
        goes_on = _started(self.staging) == plan.fingerprint
        if not goes_on:
            for path in self._staged.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.staging.write(_STARTED, json.dumps(plan.to_dict()).encode())
        return goes_on

    def commit(self, job: dict[str, Any]) -> None:
        """One rename."""
        self.staging.write(JOB_FILE, json.dumps(job, indent=1).encode())
        self.staging.remove(_STARTED)
        for partial in self._staged.rglob(".*.partial"):  # of executions that were killed
            partial.unlink()
        self._staged.rename(self._folder)
        sync_folder(self._folder.parent)
        shutil.rmtree(self._folder / RECEIPTS)


class S3Output:
    """A prefix in S3; see `Output`."""

    def __init__(self, place: S3Place, staging: S3Place) -> None:
        self._place = place
        self._staged = staging
        self.staging: Place = staging

    def finished(self) -> dict[str, Any] | None:
        """Raises `InvalidInput` where there are other files."""
        with suppress(MissingObject):
            return _job(self._place.read(JOB_FILE))
        return None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """S3 has no lock; two executions would write equal files."""
        yield

    def begin(self, plan: ScoringPlan) -> bool:
        """Compares the fingerprints of the plans."""
        goes_on = _started(self.staging) == plan.fingerprint
        if not goes_on:
            for name in self._place.names():
                if not name.startswith("_scoring/"):
                    raise InvalidInput(f"{plan.output} holds other files.", "Give another --output.")
            for name in self.staging.names():
                self.staging.remove(name)
            self.staging.write(_STARTED, json.dumps(plan.to_dict()).encode())
        return goes_on

    def commit(self, job: dict[str, Any]) -> None:
        """File by file, ``_job.json`` last."""
        for name in self.staging.names():
            if not name.startswith((_STARTED, f"{RECEIPTS}/")):
                self._place.take(self._staged, name)
        self._place.write(JOB_FILE, json.dumps(job, indent=1).encode())
        for name in self.staging.names():
            self.staging.remove(name)


def open_output(location: str, endpoint_url: str) -> Output:
    """The output at a folder or ``s3://bucket/prefix``."""
    location = s3_address(location).rstrip("/")
    if is_s3(location):
        return S3Output(S3Place(location, endpoint_url), S3Place(f"{location}/_scoring", endpoint_url))
    if "://" in location or not location:
        raise InvalidInput(f"{location!r} is not a place to write to.", "Give a folder or s3://bucket/prefix.")
    return LocalOutput(Path(location))


def _started(staging: Place) -> str | None:
    with suppress(MissingObject, ValueError):
        return str(json.loads(staging.read(_STARTED))["fingerprint"])
    return None


def _job(content: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(content)
    return job
