"""Reads the rows of a part, has them scored and keeps the outcome: the same code for every engine.

The names of a part's files follow from its number. Files appear whole, and the receipt comes last. A part that is
scored again, after a crash or beside a slow executor, replaces its files with equal ones: no row is lost or doubled.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from numpy.typing import NDArray

from ml_project.errors import InvalidInput
from ml_project.tables import CsvHead, text_bytes
from pipelines.data.csv_text import parse_csv_lines
from pipelines.data.files import plain_column
from pipelines.data.parquet_pages import check_pages, long_texts
from pipelines.scoring.plan import DECISION, ScoringPart, ScoringPlan
from pipelines.scoring.rows import QUARANTINE, RowScorer, Tally, quarantine_row
from stores.objects import MissingObject, Objects

BATCH_ROWS: Final = 8_192
_BUFFER: Final = 1 << 18
_MOST_TEXT_BYTES: Final = 8_192 * BATCH_ROWS
"""Of a text column in one batch of Parquet, whose file has a text that repeats only once."""

QUARANTINE_FOLDER: Final = "_quarantine"
RECEIPTS: Final = "_receipts"
HISTORY_FOLDER: Final = "_history"
_GROUP_ROWS: Final = 65_536


@dataclass(frozen=True)
class RowBatch:
    """Rows and their places in the file; ``broken`` are lines that are not rows (place, reason, text)."""

    batch: pa.RecordBatch
    places: NDArray[np.int64]
    broken: tuple[tuple[int, str, str], ...] = ()


def read_part(plan: ScoringPlan, part: ScoringPart, source: Objects) -> Iterator[RowBatch]:
    """The rows of a part, in batches of bounded size.

    Raises
    ------
    InvalidInput
        When the file is damaged, or has changed since it was planned.
    """
    planned = plan.file_of(part)
    wanted = [name for name in planned.columns if name in plan.fields or name in plan.carried]
    try:
        with source.open(part.file) as file:
            if planned.head is not None:
                yield from _csv(file, part, planned.head, plan.numbers, wanted)
            else:
                yield from _parquet(file, part, wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError, MissingObject) as error:
        reason = str(error).strip().splitlines()[0]
        said = f"{part.file} can no longer be read ({reason})."
        raise InvalidInput(said, "Copy or write it again, then begin again.") from error


def _parquet(file: Any, part: ScoringPart, wanted: list[str]) -> Iterator[RowBatch]:
    metadata = pa.parquet.read_metadata(file)
    if metadata.num_row_groups < part.end:
        raise pa.ArrowInvalid(f"it has {metadata.num_row_groups} row groups, and had more when it was planned")
    schema = metadata.schema.to_arrow_schema()
    groups = list(range(part.begin, part.end))
    check_pages(file, metadata, part.file, wanted, groups)
    # As dictionaries, long texts are measured before each row has its own; short ones are read faster without.
    texts = long_texts(file, metadata, wanted, groups, _MOST_TEXT_BYTES // BATCH_ROWS)
    # Without pre-buffering, and through a buffer, a row group of any size is read in little memory.
    table = pa.parquet.ParquetFile(
        file, metadata=metadata, read_dictionary=texts, pre_buffer=False, buffer_size=_BUFFER
    )
    place, end = -part.skip, part.rows
    for batch in table.iter_batches(BATCH_ROWS, row_groups=groups, columns=wanted, use_threads=False):
        first, last = max(place, 0), min(place + len(batch), end)
        if first < last:
            rows = np.arange(first, last, dtype=np.int64) + part.first_row
            chosen = batch.slice(first - place, last - first)
            names = chosen.schema.names
            columns = [
                _written_out(chosen[name], schema.field(name), part) if name in texts else plain_column(chosen[name])
                for name in names
            ]
            yield RowBatch(pa.RecordBatch.from_arrays(columns, names=names), rows)
        place += len(batch)
        if place >= end:
            return


def _written_out(column: pa.DictionaryArray, field: pa.Field, part: ScoringPart) -> pa.Array:
    """A text column that was read as a dictionary, of the type that `plain_column` gives it elsewhere."""
    size = text_bytes(column)
    if size > _MOST_TEXT_BYTES:
        raise InvalidInput(
            f"{part.file}: {len(column)} rows of the column {field.name!r} have {size:,} bytes of text.",
            f"Leave it out; at most {_MOST_TEXT_BYTES:,} are carried over.",
        )
    kind = plain_column(pa.array([], field.type)).type
    return column.cast(kind)


def _csv(
    file: Any, part: ScoringPart, head: CsvHead, numbers: tuple[str, ...], wanted: list[str]
) -> Iterator[RowBatch]:
    file.seek(part.begin)
    content = file.read(part.end - part.begin)
    broken: list[tuple[int, str, str]] = []

    def refuse(row: Any) -> Literal["skip"]:
        said = f"the line has {row.actual_columns} fields, not {row.expected_columns}"
        broken.append((part.first_row + row.number - 1, said, row.text))
        return "skip"

    try:
        kinds = {name: pa.float64() if name in numbers else pa.string() for name in wanted}
        table = parse_csv_lines(content, head, kinds)
    except pa.ArrowInvalid:
        # Some line is not a row, or some value not a number: read as text, every line can be reported.
        table = parse_csv_lines(content, head, dict.fromkeys(wanted, pa.string()), refuse)
        if head.decimal == ",":
            table = _with_decimal_points(table, numbers)
    if len(table) + len(broken) != part.rows:
        raise InvalidInput(f"{part.file}: {len(table)} rows on {part.rows} lines.", "Remove line breaks within fields.")
    left = np.arange(part.first_row, part.first_row + part.rows, dtype=np.int64)
    places = np.setdiff1d(left, [place for place, *_ in broken])
    first = 0
    for batch in table.to_batches(BATCH_ROWS):
        yield RowBatch(batch, places[first : first + len(batch)])
        first += len(batch)
    if broken:
        (nothing,) = table.slice(0, 0).combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=table.schema)
        ]
        yield RowBatch(nothing, places[:0], tuple(broken))


def _with_decimal_points(table: pa.Table, numbers: tuple[str, ...]) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if name in numbers:
            table = table.set_column(place, name, pa.compute.replace_substring(table[name], ",", "."))
    return table


@dataclass(frozen=True)
class Receipt:
    """A finished part, its files and its counts."""

    part: int
    files: tuple[str, ...]
    tally: Tally

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps({"part": self.part, "files": self.files, "tally": self.tally.to_dict()}).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Receipt":
        """The inverse of `to_bytes`."""
        values = json.loads(content)
        return cls(values["part"], tuple(values["files"]), Tally.from_dict(values["tally"]))


def receipt_name(part: ScoringPart) -> str:
    """The name of a part's receipt below the staging folder."""
    return f"{RECEIPTS}/{part.name}.json"


def history_name(part: ScoringPart) -> str:
    """The name of a part's columns of history below the staging folder; see `pipelines.scoring.history`."""
    return f"{HISTORY_FOLDER}/{part.name}.npy"


def _read_history(part: ScoringPart, staging: Objects) -> NDArray[np.float64]:
    with staging.open(history_name(part)) as file:
        values: NDArray[np.float64] = np.load(io.BytesIO(file.read()))
    return values


def score_part(
    plan: ScoringPlan,
    part: ScoringPart,
    scorer: RowScorer,
    source: Objects,
    staging: Objects,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> Receipt:
    """Score a part and keep its files and receipt in the staging folder, where its columns of history are already.

    Parameters
    ----------
    on_rows : callable
        Called with the number of rows just done; an exception from it ends the work, and no file is kept.
    """
    tally = scorer.nothing
    history = _read_history(part, staging) if scorer.has_history else None
    with ExitStack() as stack:
        files: dict[str, _File] = {}

        def append(name: str, table: pa.Table) -> None:
            if name not in files:
                files[name] = stack.enter_context(_file(staging, name, table.schema))
            files[name].append(table)

        for rows in read_part(plan, part, source):
            known = None if history is None else history[rows.places - part.first_row]
            scored = scorer.score(rows.batch, part.file, rows.places, known)
            for decision, table in scored.decided.items():
                append(f"{DECISION}={decision}/{part.name}.parquet", table)
            broken = pa.Table.from_pylist([quarantine_row(part.file, *each) for each in rows.broken], QUARANTINE)
            bad = pa.concat_tables([scored.quarantine, broken])
            if len(bad):
                append(f"{QUARANTINE_FOLDER}/{part.name}.parquet", bad)
            tally += scored.tally + scorer.tally_broken(said for _place, said, _text in rows.broken)
            on_rows(len(rows.batch) + len(rows.broken))
    receipt = Receipt(part.number, tuple(sorted(files)), tally)
    staging.write(receipt_name(part), receipt.to_bytes())
    return receipt


class _File:
    """A Parquet file being written, in row groups large enough to be read fast."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._held: list[pa.Table] = []

    def append(self, table: pa.Table) -> None:
        self._held.append(table)
        if sum(map(len, self._held)) >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held), row_group_size=2 * _GROUP_ROWS)
            self._held.clear()


@contextmanager
def _file(staging: Objects, name: str, schema: pa.Schema) -> Iterator[_File]:
    with (
        staging.creating(name) as path,
        pa.parquet.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer,
    ):
        file = _File(writer)
        yield file
        file.flush()
