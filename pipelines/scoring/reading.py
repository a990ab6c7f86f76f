"""The rows of a part, in batches of bounded size, from Parquet or CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ml_project.errors import InvalidInput
from ml_project.schema import RAW_FEATURES
from pipelines.scoring.places import Place
from pipelines.scoring.plan import Part, Plan
from stores.objects import MissingObject

BATCH_ROWS: Final = 8_192
_BUFFER: Final = 1 << 18


@dataclass(frozen=True)
class Rows:
    """Rows and where they stand in their file; ``broken`` are lines that are no rows (place, reason, text)."""

    batch: pa.RecordBatch
    places: NDArray[np.int64]
    broken: tuple[tuple[int, str, str], ...] = ()


def read_part(plan: Plan, part: Part, source: Place) -> Iterator[Rows]:
    """The part's rows.

    Raises
    ------
    InvalidInput
        When the file is no longer what the plan saw.
    """
    wanted = [name for name in plan.columns_of(part) if name in RAW_FEATURES or name in plan.carried]
    try:
        with source.open(part.file) as file:
            if part.file.endswith(".csv"):
                yield from _csv(file, part, plan.columns_of(part), wanted)
            else:
                yield from _parquet(file, part, wanted)
    except (pa.ArrowException, FileNotFoundError, MissingObject) as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidInput(f"{part.file}: cannot be read any more ({reason}).", "Begin again.") from error


def _parquet(file: Any, part: Part, wanted: list[str]) -> Iterator[Rows]:
    # Without pre-buffering, and through a buffer, a row group of any size is read in little memory.
    table = pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    groups = list(range(part.begin, part.end))
    place, end = -part.skip, part.rows
    for batch in table.iter_batches(BATCH_ROWS, row_groups=groups, columns=wanted, use_threads=False):
        first, last = max(place, 0), min(place + len(batch), end)
        if first < last:
            rows = np.arange(first, last, dtype=np.int64) + part.first_row
            yield Rows(batch.slice(first - place, last - first), rows)
        place += len(batch)
        if place >= end:
            return


def _csv(file: Any, part: Part, columns: tuple[str, ...], wanted: list[str]) -> Iterator[Rows]:
    file.seek(part.begin)
    content = file.read(part.end - part.begin)
    broken: list[tuple[int, str, str]] = []

    def refuse(row: Any) -> str:
        said = f"the line has {row.actual_columns} fields, not {row.expected_columns}"
        broken.append((part.first_row + row.number - 1, said, row.text))
        return "skip"

    try:
        kinds = {name: pa.float64() if name in RAW_FEATURES else pa.string() for name in wanted}
        table = _parsed(content, columns, kinds, None)
    except pa.ArrowInvalid:
        # Some line is no row, or some value no number: as text every line can be spoken of.
        content = content.decode(errors="replace").encode()
        table = _parsed(content, columns, dict.fromkeys(wanted, pa.string()), refuse)
    if len(table) + len(broken) != part.rows:
        raise InvalidInput(f"{part.file}: {len(table)} rows where {part.rows} lines are.", "Quote no line breaks.")
    left = np.arange(part.first_row, part.first_row + part.rows, dtype=np.int64)
    places = np.setdiff1d(left, [place for place, *_ in broken])
    first = 0
    for batch in table.to_batches(BATCH_ROWS):
        yield Rows(batch, places[first : first + len(batch)])
        first += len(batch)
    if broken:
        (nothing,) = table.slice(0, 0).combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=table.schema)
        ]
        yield Rows(nothing, places[:0], tuple(broken))


def _parsed(content: bytes, columns: tuple[str, ...], kinds: dict[str, Any], refuse: Any) -> Any:
    """Lines as a table; numbers are rounded right, and a value that is no number raises where numbers are wanted."""
    return pa.csv.read_csv(
        pa.BufferReader(content),
        pa.csv.ReadOptions(column_names=list(columns), use_threads=False, block_size=len(content) + 1),
        pa.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=refuse),
        pa.csv.ConvertOptions(
            column_types=kinds, include_columns=list(kinds), null_values=[""], strings_can_be_null=True
        ),
    )
