import io
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.errors import InvalidInput
from pipelines.data.parquet_pages import check_pages, chunks, long_texts, pages
from tests.support.parquet import with_large_page

SHORT = pa.table(
    {
        "number": np.arange(3_000) / 7,
        "text": [None if row % 5 == 0 else f"customer {row % 900}" for row in range(3_000)],
        "list": [[row] * (row % 4) for row in range(3_000)],
        "inner": [{"a": row, "b": [{"c": str(row)}]} for row in range(3_000)],
        "yes": [row % 3 == 0 for row in range(3_000)],
    }
)


def written(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def checked(content: bytes, **which: object) -> None:
    with pa.BufferReader(content) as file:
        check_pages(file, pq.read_metadata(io.BytesIO(content)), "a.parquet", **which)


@pytest.fixture(scope="module")
def tables() -> list[pa.Table]:
    texts = ["x" * 100, "ü" * 3_000, "z" * 20_000]
    return [SHORT, SHORT.slice(0, 0), SHORT.slice(0, 1), pa.table({"long": texts * 30})]


@given(
    number=st.integers(0, 3),
    compression=st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
    version=st.sampled_from(["1.0", "2.0"]),
    dictionary=st.booleans(),
    page_bytes=st.sampled_from([100, 5_000, 1_000_000]),
    group_rows=st.sampled_from([7, 1_000, 5_000]),
    checksums=st.booleans(),
)
def test_every_page_is_seen(tables, number, compression, version, dictionary, page_bytes, group_rows, checksums):
    content = written(
        tables[number].slice(0, 50 * group_rows),
        compression=compression,
        data_page_version=version,
        use_dictionary=dictionary,
        data_page_size=page_bytes,
        row_group_size=group_rows,
        write_page_checksum=checksums,
    )
    checked(content)
    metadata = pq.read_metadata(io.BytesIO(content))
    with pa.BufferReader(content) as file:
        groups = chunks(file, metadata, "a.parquet")
        assert len(groups) == metadata.num_row_groups
        for number, group in enumerate(groups):
            for place, own in enumerate(group):
                chunk = metadata.row_group(number).column(place)
                found = list(pages(file, len(content), own))
                assert sum(page.values for page in found) == chunk.num_values
                if not found:  # of no values, not even the dictionary is read
                    continue
                # the footer counts headers, too, which take the same in the file and in memory
                headers = chunk.total_compressed_size - sum(page.packed for page in found)
                assert headers == chunk.total_uncompressed_size - sum(page.unpacked for page in found)
                assert headers > 0


@given(st.data())
def test_changed_bytes_are_read_or_refused(data):
    content = bytearray(written(SHORT.slice(0, 100), use_dictionary=["text"]))
    metadata = pq.read_metadata(io.BytesIO(bytes(content)))
    for _ in range(data.draw(st.integers(1, 4))):
        chunk = metadata.row_group(0).column(data.draw(st.integers(0, metadata.num_columns - 1)))
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start + data.draw(st.integers(0, 40))] = data.draw(st.integers(0, 255))
    with pa.BufferReader(bytes(content)) as file, suppress(InvalidInput):
        check_pages(file, metadata, "a.parquet")


def test_a_page_that_says_more_than_it_can_hold_is_refused():
    content = with_large_page(written(SHORT, use_dictionary=False), "number")
    said = r"a\.parquet: its pages say that they take 2,1\d\d MB .* of 0\.\d{3} MB in the file, .* the column 'number'"
    with pytest.raises(InvalidInput, match=said):
        checked(content)
    checked(content, columns=["text", "inner"])
    with pytest.raises(InvalidInput, match="its pages say"):
        checked(content, columns=["number"], groups=[0])
    checked(content, groups=[])


@pytest.mark.parametrize("path", [b"zzz", b"\xb6zz"])
def test_what_a_chunk_says_its_column_is_does_not_count(path):
    """Arrow goes by its place in the schema."""
    table = pa.table({"one": np.arange(3_000) / 7, "two": ["x"] * 3_000})
    content = with_large_page(written(table, use_dictionary=False), "one")
    [place] = [at for at in range(len(content)) if content.startswith(b"\x19\x18\x03one", at)]
    content = content[: place + 3] + path + content[place + 6 :]
    with pytest.raises(InvalidInput, match=r"its pages say .* the column 'one'"):
        checked(content, columns=["one"])
    checked(content, columns=["two"])


def test_pages_that_say_too_much_together_are_refused():
    content = written(SHORT, use_dictionary=False)
    content = with_large_page(content, "number", 150_000_000)
    checked(content)
    with pytest.raises(InvalidInput, match="they take 300 MB"):
        checked(with_large_page(content, "text", 150_000_000))


def test_large_pages_with_as_large_a_content_are_read():
    """As of fastparquet, whose column chunks are one page each."""
    values = {"random": np.random.default_rng(0).normal(size=20_000), "zero": np.zeros(20_000)}
    options = {"use_dictionary": False, "compression": "zstd", "data_page_size": 10**9, "max_rows_per_page": 10**9}
    checked(written(pa.table(values), **options), most_bytes=10_000)
    with pytest.raises(InvalidInput, match="its pages say that they take 0 MB"):
        checked(written(pa.table({"zero": values["zero"]}), **options), most_bytes=10_000)


def test_a_page_that_ends_beyond_the_file_is_refused():
    content = written(SHORT, use_dictionary=False)
    footer = int.from_bytes(content[-8:-4], "little")
    with pytest.raises(InvalidInput, match="'number' ends beyond the file"):
        checked(content[:1_000] + content[-8 - footer :])


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_dictionaries_with_long_texts_are_named(compression):
    texts = pa.table(
        {
            "long": ["short", "x" * 5_000] * 20,
            "bytes": pa.array([b"x" * 5_000] * 40),
            "short": [f"customer {row}" for row in range(40)],
            "number": pa.array(range(40)),
        }
    )
    content = written(texts, compression=compression, use_dictionary=["long", "bytes", "short"])
    metadata = pq.read_metadata(io.BytesIO(content))
    with pa.BufferReader(content) as file:
        assert long_texts(file, metadata, texts.column_names, [0], 4_999) == ["long", "bytes"]
        assert long_texts(file, metadata, ["long", "number"], [0], 5_000) == []
        assert long_texts(file, metadata, texts.column_names, [], 10) == []


def test_a_damaged_footer_is_refused():
    """Asked for a chunk of which pyarrow finds something out of order, it would end the process."""
    content = written(SHORT, use_dictionary=False)
    length = int.from_bytes(content[-8:-4], "little")
    metadata = pq.read_metadata(io.BytesIO(content))
    for place in range(len(content) - 8 - length, len(content) - 8, 7):
        broken = content[:place] + bytes((content[place] ^ 0xFF,)) + content[place + 1 :]
        with pa.BufferReader(broken) as file, suppress(InvalidInput):
            check_pages(file, metadata, "a.parquet")
