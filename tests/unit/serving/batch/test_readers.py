"""Whatever a body holds, it is read or refused as the client's fault: nothing in it gives a 5xx."""

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ml_project.contract_parts import MAX_MAGNITUDE
from ml_project.errors import FraudError
from ml_project.reasons import Explainer
from serving.batch import ARROW, PARQUET
from serving.batch.csv import read_csv
from serving.batch.readers import columns_of, read_json, read_unpacked
from serving.batch.unpacking import NotUnpacked, unpack
from serving.batch.upload import FormFile
from serving.errors import FieldError
from serving.routes.review import parse_feedback
from serving.transactions import Chunk, TransactionParser
from tests.support.creditcard import CREDITCARD, RAW_FEATURES

ROWS = 40
_columns: dict[str, object] = {name: np.arange(ROWS) + place / 7 for place, name in enumerate(RAW_FEATURES)}
TABLE = pa.table(_columns | {"transaction_id": [None, *map(str, range(1, ROWS))]})


def as_csv() -> bytes:
    rows = [",".join(map(str, row.values())) for row in TABLE.to_pylist()]
    return "\n".join([",".join(TABLE.schema.names), *rows]).encode()


def as_parquet(**options: object) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(TABLE, sink, row_group_size=15, **options)
    return sink.getvalue()


def as_arrow() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=15)
    return sink.getvalue()


def read_here(media_type: str, file: BinaryIO) -> Iterator[Chunk]:
    """Unpacked by this process, which is quicker than a child for each example."""
    with tempfile.TemporaryFile() as target:
        unpack(file, target, media_type, columns_of(CREDITCARD), 10_000)
        yield from read_unpacked(target, CREDITCARD)


read_parquet, read_arrow = partial(read_here, PARQUET), partial(read_here, ARROW)

READERS: dict[str, tuple[Callable[..., Iterator[Chunk]], bytes]] = {
    "csv": (partial(read_csv, contract=CREDITCARD), as_csv()),
    "parquet": (read_parquet, as_parquet()),
    "plain parquet": (read_parquet, as_parquet(compression="none", use_dictionary=False)),
    "arrow": (read_arrow, as_arrow()),
}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\nx\r\n--b--\r\n'
)


@contextmanager
def refusals_allowed() -> Iterator[None]:
    """Swallows what the client is told; what would be a 5xx passes through."""
    try:
        yield
    except NotUnpacked:
        pass
    except FraudError as error:
        if error.status >= 500:
            raise


def read(reader: Callable[..., Iterator[Chunk]], content: bytes) -> list[Chunk]:
    """Chunks; none where the file is refused."""
    with tempfile.TemporaryFile() as file, refusals_allowed():
        file.write(content)
        file.seek(0)
        return list(reader(file))
    return []


def check(chunks: list[Chunk]) -> None:
    """Everything that was taken can be scored and kept, and every fault is one of the other rows."""
    for chunk in chunks:
        raw, ids = chunk.transactions.raw, chunk.transactions.ids
        assert len(raw) == len(ids) == len(chunk.rows)
        assert (np.abs(raw) <= MAX_MAGNITUDE).all()
        assert all(name is None or (len(name.encode()) and "\0" not in name) for name in ids)
        faults: list[FieldError] = chunk.errors
        assert {fault["row"] for fault in faults}.isdisjoint(chunk.rows.tolist())


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=300))
def test_any_bytes_as_a_file(kind: str, content: bytes) -> None:
    assert read(READERS[kind][0], content) == []


@given(st.sampled_from(sorted(READERS)), st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_good_file_with_some_bytes_changed(kind: str, data: st.DataObject) -> None:
    reader, good = READERS[kind]
    content = bytearray(good)
    # Structure stands at the ends of Parquet and Arrow files, and there damage does most.
    places = st.integers(0, len(good) - 1) | st.integers(0, 400) | st.integers(len(good) - 3_000, len(good) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    check(read(reader, bytes(content[: data.draw(st.just(len(good)) | st.integers(0, len(good)))])))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_names_that_are_no_utf8_are_the_files_fault(kind: str) -> None:
    place = TABLE.schema.get_field_index("transaction_id")
    names = pa.array([b"\xff\xfe"] * ROWS, pa.binary()).view(pa.string())
    sink = io.BytesIO()
    table = TABLE.set_column(place, "transaction_id", names)
    if kind == "parquet":
        parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    assert read(READERS[kind][0], sink.getvalue()) == []


@pytest.mark.parametrize("kind", READERS)
def test_the_good_file_is_read_whole(kind: str) -> None:
    chunks = read(*READERS[kind])
    check(chunks)
    assert sum(len(chunk.rows) for chunk in chunks) == ROWS


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_labels = st.fixed_dictionaries(
    {}, optional={"prediction_id": _json, "transaction_id": _json, "label": _json | st.sampled_from(["fraud", 1, 0])}
)


@given(
    st.binary(max_size=200)
    | (_labels | st.lists(_labels, max_size=3) | _json).map(lambda content: json.dumps(content).encode())
)
def test_any_bytes_as_json(content: bytes) -> None:
    check(read(lambda file: read_json(file, TransactionParser(CREDITCARD), 10_000, 100), content))
    for parse in (TransactionParser(CREDITCARD).one, lambda body: parse_feedback(body, 100)):
        with refusals_allowed():
            parse(content)


@given(st.binary(max_size=200), st.integers(0, len(FORM)), st.integers(0, len(FORM)), st.integers(1, 300))
def test_any_bytes_in_a_form(content: bytes, start: int, end: int, size: int) -> None:
    body = FORM[:start] + content + FORM[end:]
    with refusals_allowed():
        parser = FormFile("multipart/form-data; boundary=b")
        for at in range(0, len(body), size):
            parser.feed(body[at : at + size])
        parser.close()


@given(st.binary(max_size=80))
def test_any_bytes_as_a_forms_content_type(header: bytes) -> None:
    with refusals_allowed():
        FormFile("multipart/form-data" + header.decode("latin-1"))


_component = st.floats(-MAX_MAGNITUDE, MAX_MAGNITUDE)
_row = st.tuples(st.floats(0, MAX_MAGNITUDE), *[_component] * 28, st.floats(0, MAX_MAGNITUDE))


@given(st.lists(_row, min_size=1, max_size=20))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_every_valid_row_scores(scorer, rows: list[tuple[float, ...]]) -> None:
    raw = np.array(rows)
    scores = scorer.score(raw)
    for values in (scores.isolation, scores.boosted, scores.hybrid, scores.probability):
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
    for explanation in Explainer(scorer.bundle).explain(raw, scores.isolation):
        assert all(np.isfinite(reason["contribution"]) for reason in explanation.reasons)
