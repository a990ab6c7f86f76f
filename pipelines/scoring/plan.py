"""What is scored, cut into parts: a part is scored once, kept once, and skipped when a job is continued.

Planning looks at the footer of a Parquet file, or at the lines of a CSV file, once; it reads no row of Parquet.
"""

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import require_distinct
from ml_project.contract import Contract
from ml_project.contract_parts import OUTPUTS, ContractField
from ml_project.errors import InvalidInput
from ml_project.tables import HEAD_BYTES, CsvHead, column_hint, is_index, read_head, spelled
from pipelines.data.files import index_columns, whole_parquet
from pipelines.data.places import find_files, kind_of

PART_ROWS: Final = 524_288
"""Rows of a part of Parquet, as far as row groups allow: a few seconds of work, a file of about 40 MB."""

DECISION, VERSION = "decision", "model_version"
SOURCE_FILE, SOURCE_ROW = "source_file", "source_row"
WRITTEN: Final = (*OUTPUTS, DECISION, VERSION, SOURCE_FILE, SOURCE_ROW)
"""Columns of the output besides those carried over."""

_FORMAT: Final = 2

CSV_ROWS: Final = 65_536
"""Rows of a part of CSV, which is read at once: 20 to 40 MB."""

_MOST_SLICES: Final = 8
"""At most so many parts of one row group: each must read past the rows of the parts before it."""

_BLOCK: Final = 1 << 23
_FOOTER: Final = 1 << 16
_NEWLINE: Final = 10
_Cut = tuple[str, int, int, int, int, int]
"""A part without its number."""


@dataclass(frozen=True)
class ScoringPart:
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
        Where its rows are: row groups of Parquet, bytes of CSV.
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
        """The name of its files, without suffix."""
        return f"part-{self.number:05d}"


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the plan was made.

    Attributes
    ----------
    columns : tuple of str
        In the file's order, without the row index of a pandas frame.
    head : CsvHead or None
        The beginning of a CSV file, and its dialect.
    """

    name: str
    bytes: int
    digest: str
    columns: tuple[str, ...]
    head: CsvHead | None = None


@dataclass(frozen=True)
class ScoringPlan:
    """A job: the input, the version that scores it, and the parts.

    Attributes
    ----------
    carried : tuple of str
        Input columns that are copied to the output.
    fields, numbers : tuple of str
        The raw fields that the version scores, and those of them that hold numbers.
    """

    input: str
    output: str
    version: int
    bundle_digest: str
    files: tuple[InputFile, ...]
    carried: tuple[str, ...]
    fields: tuple[str, ...]
    numbers: tuple[str, ...]
    parts: tuple[ScoringPart, ...]

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents, version and parts, wherever the files are: only then may a job be continued."""
        parts = [asdict(part) for part in self.parts]
        content = [_FORMAT, self.version, self.bundle_digest, [asdict(file) for file in self.files], parts]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def file_of(self, part: ScoringPart) -> InputFile:
        """The file that the part is of."""
        return next(file for file in self.files if file.name == part.file)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the parts."""
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


def carried_columns(columns: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """All columns but names of output columns, engineered features (computed here), and fields without a role."""
    plain = (field.name for field in contract.given_fields if field.role is None)
    left_out = {*plain, *contract.engineered, *WRITTEN}
    return tuple(column for column in columns if column not in left_out)


def fields_beside(contract: Contract) -> list[ContractField]:
    """What a row must have beside what is scored: when and to whom it happened, where history is made of it."""
    asked = {contract.event_time, *(each.by for each in contract.history)} if contract.history else set()
    known = (field for field in contract.fields if field.required and field.name in asked)
    return [field for field in known if field.name not in contract.given_names]


def make_plan(
    data: str,
    output: str,
    version: int,
    bundle_digest: str,
    contract: Contract,
    endpoint_url: str,
    part_rows: int = 0,
) -> ScoringPlan:
    """Plan the scoring of a Parquet or CSV file, or of a folder of them.

    Parameters
    ----------
    contract : Contract
        The version's.
    part_rows : int
        Rows of a part; 0: the default of the kind of file.

    Raises
    ------
    InvalidInput
        When there is nothing to score, a raw field is missing, or files differ in what would be carried over.
    Unavailable
        When S3 cannot be reached or refuses access.
    """
    source, names = find_files(data, endpoint_url)
    if kind_of(names[0]) == "packed csv":
        raise InvalidInput(f"{data}: scoring reads parts of a file, which an archive does not have.", "Unpack it.")
    files: list[InputFile] = []
    parts: list[ScoringPart] = []
    carried: tuple[str, ...] | None = None
    for name in names:
        with source.open(name) as file:
            look = _look_csv if kind_of(name) == "csv" else _look_parquet
            found, cut = look(file, name, contract, part_rows)
        _require_raw_fields(found, contract)
        if carried is None:
            carried = carried_columns(found.columns, contract)
        elif set(carried) != set(carried_columns(found.columns, contract)):
            raise InvalidInput(
                f"{name} has different columns from {names[0]}.", "Score files of the same kind together."
            )
        files.append(found)
        parts += [ScoringPart(number, *each) for number, each in enumerate(cut, len(parts))]
    if not parts:
        raise InvalidInput(f"{data}: no rows.", "Give transactions.")
    columns = carried or (), contract.given_names, contract.number_fields
    return ScoringPlan(data, output, version, bundle_digest, tuple(files), *columns, tuple(parts))


def _require_raw_fields(file: InputFile, contract: Contract) -> None:
    beside = [field.name for field in fields_beside(contract)]
    required = [*(field.name for field in contract.given_fields if field.required), *beside]
    missing = [field for field in required if field not in file.columns]
    if missing:
        hints = ((column, column_hint(column, contract)) for column in file.columns)
        near = next((f" It has {column!r}: {hint}" for column, hint in hints if hint), "")
        said = f"{file.name}: missing column {', '.join(missing)}.{near}"
        raise InvalidInput(said, f"Scoring needs {', '.join(spelled(required))}.")


def _look_parquet(file: Any, name: str, contract: Contract, part_rows: int) -> tuple[InputFile, list[_Cut]]:
    with whole_parquet(name):
        table = pa.parquet.ParquetFile(file)
        schema = table.schema_arrow
        require_distinct(schema.names, name)
    size = file.size()
    file.seek(max(0, size - _FOOTER))
    # The footer has sizes and statistics of every column chunk: it changes with the contents.
    digest = hashlib.sha256(file.read()).hexdigest()
    rows = [table.metadata.row_group(group).num_rows for group in range(table.metadata.num_row_groups)]
    index = index_columns(schema, contract)
    found = InputFile(name, size, digest, tuple(column for column in schema.names if column not in index))
    return found, list(_cut_groups(name, rows, part_rows or PART_ROWS))


def _cut_groups(name: str, groups: list[int], part_rows: int) -> Iterator[_Cut]:
    """Row groups joined up to ``part_rows``; larger ones are cut."""
    first, begin, held = 0, 0, 0
    for group, rows in enumerate(groups):
        if held and held + rows > part_rows:
            yield name, first, held, begin, group, 0
            first, held = first + held, 0
        if not held:
            begin = group
        if rows <= part_rows:
            held += rows
            continue
        slices = min(_MOST_SLICES, -(-rows // part_rows))
        edges = [rows * k // slices for k in range(slices + 1)]
        for low, high in pairwise(edges):
            yield name, first + low, high - low, group, group + 1, low
        first += rows
    if held:
        yield name, first, held, begin, len(groups), 0


def _look_csv(file: Any, name: str, contract: Contract, part_rows: int) -> tuple[InputFile, list[_Cut]]:
    start = file.read(HEAD_BYTES)
    head = read_head(start, contract, name)
    require_distinct(head.names, name)
    text = _Utf8(name, head.lines)
    sha, size = hashlib.sha256(start[: head.size]), file.size()
    position, rows, begin = head.size, part_rows or CSV_ROWS, head.size
    cut: list[_Cut] = []
    seen, first = 0, 0
    file.seek(min(position, size))
    while block := file.read(_BLOCK):
        sha.update(block)
        text.check(block)
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
        while seen + len(ends) - first >= rows:
            end = position + int(ends[first + rows - 1 - seen]) + 1
            cut.append((name, len(cut) * rows, rows, begin, end, 0))
            begin, first = end, first + rows
        seen, position = seen + len(ends), position + len(block)
    text.check(b"", final=True)
    left = seen - first + int(position > begin and not _ends_line(file, size))
    if left:
        cut.append((name, len(cut) * rows, left, begin, size, 0))
    columns = tuple(column for column in head.names if not is_index(column))
    return InputFile(name, size, sha.hexdigest(), columns, head), cut


class _Utf8:
    """Refuses a file at its first line that is no text: names and places would go on mangled."""

    def __init__(self, name: str, lines: int) -> None:
        self._name, self._lines = name, lines
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def check(self, block: bytes, *, final: bool = False) -> None:
        pending, _ = self._decoder.getstate()
        try:
            self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            line = self._lines + (pending + block)[: error.start].count(b"\n") + 1
            raise InvalidInput(f"{self._name}: line {line} is not UTF-8 text.", "Save it as UTF-8 CSV.") from error
        self._lines += block.count(b"\n")


def _ends_line(file: Any, size: int) -> bool:
    file.seek(size - 1)
    return bool(file.read(1) == b"\n")
