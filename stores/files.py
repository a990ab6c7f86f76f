"""Files and folders that appear whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file at once and durably: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).chmod(0o644)  # a gateway may run as another user than the pipelines
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink()
        raise


def take_place(built: Path, folder: Path) -> None:
    """Rename a finished folder to its name; where another process was first, its equal one stays."""
    try:
        built.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
