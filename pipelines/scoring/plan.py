"""What is to be scored, cut into parts: the unit that is scored once, kept once, and skipped when a job goes on."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from ml_project.schema import ENGINEERED_FEATURES, OUTPUTS, PCA_COMPONENTS

PART_ROWS: Final = 524_288
"""Rows of a part, as far as row groups allow: a few seconds of work, a file of some 40 MB."""

DECISION, VERSION = "decision", "model_version"
SOURCE_FILE, SOURCE_ROW = "source_file", "source_row"
WRITTEN: Final = (*OUTPUTS, DECISION, VERSION, SOURCE_FILE, SOURCE_ROW)
"""Columns of the output beside those carried over."""

_FORMAT: Final = 1


@dataclass(frozen=True)
class Part:
    """Some rows of one file.

    Attributes
    ----------
    number : int
        Its place in the plan, and its name in the output.
    file : str
        Name of the file below the input.
    first_row, rows : int
        Rows of the file, counted from 0 without the header.
    begin, end : int
        Row groups of Parquet, bytes of CSV: where its rows lie.
    skip : int
        Rows of the first row group that belong to earlier parts.
    """

    number: int
    file: str
    first_row: int
    rows: int
    begin: int
    end: int
    skip: int = 0

    @property
    def name(self) -> str:
        """Of its files, without ending."""
        return f"part-{self.number:05d}"


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the plan was made; ``columns`` in the file's order."""

    name: str
    bytes: int
    digest: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A job: what is read, by which version it is scored, and the parts.

    Attributes
    ----------
    carried : tuple of str
        Input columns that go into the output as they are.
    """

    input: str
    output: str
    version: int
    bundle_digest: str
    files: tuple[InputFile, ...]
    carried: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Equal for the same contents, version and way of cutting, wherever they lie: only then may a job go on."""
        parts = [asdict(part) for part in self.parts]
        content = [_FORMAT, self.version, self.bundle_digest, [asdict(file) for file in self.files], parts]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def columns_of(self, part: Part) -> tuple[str, ...]:
        """Columns of the part's file."""
        return next(file.columns for file in self.files if file.name == part.file)

    def to_dict(self) -> dict[str, Any]:
        """What is told of it: all but the parts."""
        return {
            "input": self.input,
            "output": self.output,
            "version": self.version,
            "bundle_digest": self.bundle_digest,
            "fingerprint": self.fingerprint,
            "files": len(self.files),
            "parts": len(self.parts),
            "rows": self.rows,
        }


def carried_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """All but the 28 components, the engineered features (we compute them) and names that our own columns have."""
    left_out = {*PCA_COMPONENTS, *ENGINEERED_FEATURES, *WRITTEN}
    return tuple(column for column in columns if column not in left_out)
