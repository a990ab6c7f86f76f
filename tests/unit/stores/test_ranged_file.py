"""Bytes that come by ranges: all of them right, and hardly one twice, however they are read."""

from io import BufferedReader
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores import ranged_file
from stores.ranged_file import RangedFile

MEGABYTE = 1024**2


class Elsewhere:
    """Some content, and the ranges of it that were asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def fetch(self, begin: int, end: int) -> bytes:
        assert 0 <= begin < end <= len(self.content)
        self.asked.append((begin, end))
        return self.content[begin:end]

    def file(self) -> BufferedReader:
        return BufferedReader(RangedFile(len(self.content), self.fetch))

    @property
    def fetched(self) -> int:
        return sum(end - begin for begin, end in self.asked)


@given(st.data())
def test_every_read_gives_what_is_there(data: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranged_file, "_BLOCK_BYTES", 16)
        patch.setattr(ranged_file, "_HELD", data.draw(st.integers(1, 4)))
        elsewhere = Elsewhere(bytes(range(256))[: data.draw(st.integers(0, 256))])
        file = elsewhere.file()
        for _ in range(20):
            begin, count = data.draw(st.integers(0, 270)), data.draw(st.integers(0, 80))
            file.seek(begin)
            assert file.read(count) == elsewhere.content[begin : begin + count]
        assert file.seek(0, 2) == len(elsewhere.content)


def test_who_reads_on_asks_seldom() -> None:
    elsewhere = Elsewhere(bytes(20 * MEGABYTE))
    assert len(elsewhere.file().read()) == 20 * MEGABYTE
    assert elsewhere.fetched == 20 * MEGABYTE
    assert len(elsewhere.asked) == 5


def test_columns_that_are_read_in_turn_are_fetched_once() -> None:
    """As `score` reads a table in S3; with one range in memory, each look at a column fetched it anew."""
    rng = np.random.default_rng(1)
    table = pa.table({f"c{column}": rng.random(200_000) for column in range(20)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    elsewhere = Elsewhere(sink.getvalue().to_pybytes())
    file = pq.ParquetFile(pa.PythonFile(elsewhere.file(), "r"), pre_buffer=False, buffer_size=256 * 1024)
    assert pa.Table.from_batches(file.iter_batches(10_000)).equals(table)
    assert elsewhere.fetched < 1.2 * len(elsewhere.content)
