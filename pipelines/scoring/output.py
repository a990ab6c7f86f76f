"""The output of a job: a staging folder in which a job can be continued, and the commit that makes it the output.

A local commit is one rename. S3 has none: there the files move one by one, ``_job.json`` comes last, and a commit that
was cut short is finished by the next execution.
"""

import fcntl
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml_project.errors import InvalidInput, LostRace, Unavailable
from pipelines.scoring.parts import HISTORY_FOLDER, RECEIPTS
from pipelines.scoring.plan import ScoringPlan
from stores.files import sync_folder
from stores.objects import LocalObjects, MissingObject, Objects, is_s3, s3_address

if TYPE_CHECKING:
    from stores.s3 import S3Objects

JOB_FILE: Final = "_job.json"
_STARTED: Final = "_started.json"
_STAGING: Final = "_scoring"
"""The staging folder in S3, below the output."""

_SETTING: Final = "--output"


class Output(ABC):
    """The output of one job.

    Attributes
    ----------
    staging : Objects
        Where parts are kept until the commit.
    """

    def __init__(self, place: Objects, staging: Objects) -> None:
        self._place = place
        self.staging = staging

    @abstractmethod
    def finished(self) -> dict[str, Any] | None:
        """The ``_job.json`` of the finished output; None where there is none.

        Raises
        ------
        InvalidInput
            When there are other files.
        """

    @abstractmethod
    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from writing here (local folders only); raises `LostRace`."""
        yield

    def begin(self, plan: ScoringPlan) -> bool:
        """Prepare the staging folder, and say whether an earlier execution of the same job left parts there.

        Unfinished files of another job are removed.
        """
        if self._begun() == plan.fingerprint:
            return True
        self._clear(plan)
        self.staging.write(_STARTED, json.dumps(plan.to_dict()).encode())
        return False

    @abstractmethod
    def commit(self, job: dict[str, Any]) -> None:
        """Make the staged files the output."""

    @abstractmethod
    def _clear(self, plan: ScoringPlan) -> None:
        """Remove what another job left in the staging folder."""

    def _begun(self) -> str | None:
        """The fingerprint of the job whose parts are staged."""
        with suppress(MissingObject, ValueError):
            return str(json.loads(self.staging.read(_STARTED))["fingerprint"])
        return None

    def _job(self) -> dict[str, Any]:
        job: dict[str, Any] = json.loads(self._place.read(JOB_FILE))
        return job


class LocalOutput(Output):
    """A local folder; see `Output`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._staged = self._folder.with_name(f".{self._folder.name}.scoring")
        super().__init__(LocalObjects(self._folder, setting=_SETTING), LocalObjects(self._staged, setting=_SETTING))

    def finished(self) -> dict[str, Any] | None:
        """An empty folder is no output."""
        if not self._folder.exists() or (self._folder.is_dir() and not any(self._folder.iterdir())):
            return None
        try:
            return self._job()
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
            raise LostRace(f"Another process is writing to {self._folder}.", "Wait for it, or stop it.") from error
        finally:
            os.close(folder)
            with suppress(OSError):  # fails, as it should, where an unfinished job left files
                self._staged.rmdir()

    def commit(self, job: dict[str, Any]) -> None:
        """One rename."""
        self.staging.write(JOB_FILE, json.dumps(job, indent=1).encode())
        self.staging.remove(_STARTED)
        for partial in self._staged.rglob(".*.partial"):  # of executions that were killed
            partial.unlink()
        shutil.rmtree(self._staged / HISTORY_FOLDER, ignore_errors=True)
        self._staged.rename(self._folder)
        sync_folder(self._folder.parent)
        shutil.rmtree(self._folder / RECEIPTS)

    def _clear(self, plan: ScoringPlan) -> None:  # noqa: ARG002 - needed in S3
        for path in self._staged.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class S3Output(Output):
    """A prefix in S3; see `Output`."""

    def __init__(self, place: "S3Objects", staging: "S3Objects") -> None:
        super().__init__(place, staging)
        self._there, self._staged = place, staging

    def finished(self) -> dict[str, Any] | None:
        """Other files are found when a new job begins."""
        with suppress(MissingObject):
            return self._job()
        return None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """S3 has no lock; two executions would write equal files."""
        yield

    def commit(self, job: dict[str, Any]) -> None:
        """File by file, ``_job.json`` last."""
        for name in self.staging.names():
            if not name.startswith((_STARTED, f"{RECEIPTS}/", f"{HISTORY_FOLDER}/")):
                self._there.take(self._staged, name)
        self._place.write(JOB_FILE, json.dumps(job, indent=1).encode())
        for name in self.staging.names():
            self.staging.remove(name)

    def _clear(self, plan: ScoringPlan) -> None:
        if any(not name.startswith(f"{_STAGING}/") for name in self._place.names()):
            raise InvalidInput(f"{plan.output} holds other files.", "Give another --output.")
        for name in self.staging.names():
            self.staging.remove(name)


def open_output(location: str, endpoint_url: str) -> Output:
    """The output at a folder or ``s3://bucket/prefix``."""
    location = s3_address(location).rstrip("/")
    if is_s3(location):
        from stores.s3 import S3Objects  # imports boto3: 0.3 s

        place, staging = (
            S3Objects(each, endpoint_url, setting=_SETTING) for each in (location, f"{location}/{_STAGING}")
        )
        return S3Output(place, staging)
    if "://" in location or not location:
        raise InvalidInput(f"{location!r} is not a place to write to.", "Give a folder or s3://bucket/prefix.")
    return LocalOutput(Path(location))
