"""Objects as files of a folder."""

from pathlib import Path

from ml_project.errors import InvalidInput, Unavailable
from stores.files import write_atomically
from stores.objects.errors import MissingObject


class LocalObjects:
    """Files below a folder, which is made when something is written; see `stores.objects.Objects`."""

    def __init__(self, folder: str | Path, *, setting: str) -> None:
        self._folder = Path(folder)
        self._setting = setting

    def address(self, name: str) -> str:
        """The file's path."""
        return str(self._path(name))

    def read(self, name: str) -> bytes:
        """A file's content."""
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise MissingObject(f"{path}: no such file.", f"Check {self._setting}.") from error
        except OSError as error:
            raise Unavailable(f"Cannot read {path}: {error.strerror}.", f"Check {self._setting}.") from error

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        path = self._path(name)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise Unavailable(f"Cannot write {path}: {error.strerror}.", f"Check {self._setting}.") from error

    def _path(self, name: str) -> Path:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InvalidInput(f"{name!r} leads out of {self._folder}.", "Somebody tampered with what names it.")
        return self._folder / name
