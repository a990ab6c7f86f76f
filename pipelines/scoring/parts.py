"""Scores one part and keeps the outcome: the same code whatever engine runs it.

A part's files have names that follow from its number and appear whole; its receipt comes last. Whoever scores a part
again, after a crash or beside a slow executor, puts equal files in their place: no row is lost or there twice.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from pipelines.scoring.places import Place
from pipelines.scoring.plan import DECISION, Part, Plan
from pipelines.scoring.reading import read_part
from pipelines.scoring.rows import QUARANTINE, RowScorer, quarantined
from pipelines.scoring.tally import Tally

QUARANTINE_FOLDER: Final = "_quarantine"
RECEIPTS: Final = "_receipts"

_GROUP_ROWS: Final = 65_536


@dataclass(frozen=True)
class Receipt:
    """A finished part, its files and what was counted in it."""

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


def receipt_name(part: Part) -> str:
    """Where a part's receipt lies below the staging folder."""
    return f"{RECEIPTS}/{part.name}.json"


def score_part(
    plan: Plan,
    part: Part,
    scorer: RowScorer,
    source: Place,
    staging: Place,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> Receipt:
    """Score a part and keep its files and receipt in the staging folder.

    Parameters
    ----------
    on_rows : callable
        Told of rows as they are done; what it raises ends the work, and nothing of the part is kept.
    """
    tally = scorer.nothing
    with ExitStack() as stack:
        files: dict[str, _File] = {}

        def append(name: str, table: pa.Table) -> None:
            if name not in files:
                files[name] = stack.enter_context(_file(staging, name, table.schema))
            files[name].append(table)

        for rows in read_part(plan, part, source):
            scored = scorer.score(rows.batch, part.file, rows.places)
            for decision, table in scored.decided.items():
                append(f"{DECISION}={decision}/{part.name}.parquet", table)
            broken = pa.Table.from_pylist([quarantined(part.file, *each) for each in rows.broken], QUARANTINE)
            bad = pa.concat_tables([scored.quarantine, broken])
            if len(bad):
                append(f"{QUARANTINE_FOLDER}/{part.name}.parquet", bad)
            tally += scored.tally + scorer.refused(said for _place, said, _text in rows.broken)
            on_rows(len(rows.batch) + len(rows.broken))
    receipt = Receipt(part.number, tuple(sorted(files)), tally)
    staging.write(receipt_name(part), receipt.to_bytes())
    return receipt


class _File:
    """A file being written, in row groups that are worth their overhead."""

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
def _file(staging: Place, name: str, schema: pa.Schema) -> Iterator[_File]:
    with (
        staging.creating(name) as path,
        pa.parquet.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer,
    ):
        file = _File(writer)
        yield file
        file.flush()
