"""/predict-batch in all its formats: equal answers, named faults, one version, bounded memory, chunks in order."""

import io
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from serving.batch.job import prefetched
from tests.support.creditcard import RAW_FEATURES

JSON, CSV = "application/json", "text/csv"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
TABLES = (CSV, PARQUET, ARROW)


def csv_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    arrow_csv.write_csv(table, sink)
    return sink.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=100)
    return sink.getvalue()


def arrow_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    return sink.getvalue()


def json_bytes(table: pa.Table) -> bytes:
    return json.dumps(table.to_pylist()).encode()


ENCODE: dict[str, Callable[[pa.Table], bytes]] = {
    JSON: json_bytes,
    CSV: csv_bytes,
    PARQUET: parquet_bytes,
    ARROW: arrow_bytes,
}
DECODE: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    JSON: json.loads,
    CSV: lambda content: arrow_csv.read_csv(
        io.BytesIO(content),
        convert_options=arrow_csv.ConvertOptions(
            column_types={"model_version": pa.string(), "transaction_id": pa.string(), "error": pa.string()},
            strings_can_be_null=True,
        ),
    ).to_pylist(),
    PARQUET: lambda content: parquet.read_table(io.BytesIO(content)).to_pylist(),
    ARROW: lambda content: pa.ipc.open_stream(content).read_all().to_pylist(),
}


@pytest.fixture(scope="module")
def table(raw_rows: np.ndarray) -> pa.Table:
    columns: dict[str, Any] = {name: raw_rows[:, place] for place, name in enumerate(RAW_FEATURES)}
    return pa.table(columns | {"transaction_id": [f"tx-{place}" for place in range(len(raw_rows))]})


def post(gateway: Any, body: bytes, sent: str, accept: str | None = None, query: str = "") -> httpx.Response:
    headers = {"Content-Type": sent, "Accept": accept or "*/*"}
    return gateway.client.post(f"/predict-batch{query}", content=body, headers=headers)


def scored(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What every format says alike: the ids are new each time, reasons and rows not everywhere."""
    apart = {"prediction_id", "row", "reasons", "warnings", "error"}
    return [{name: value for name, value in answer.items() if name not in apart} for answer in answers]


@pytest.fixture(scope="module", autouse=True)  # first: later tests send the same ids with values of other kinds
def expected(gateway, table: pa.Table) -> list[dict[str, Any]]:
    answers = scored(post(gateway, json_bytes(table), JSON).json())
    assert len(answers) == 600
    return answers


@pytest.mark.parametrize("accept", [None, *ENCODE])
@pytest.mark.parametrize("sent", ENCODE)
def test_every_format_gives_the_same_answers(gateway, table, expected, sent, accept) -> None:
    response = post(gateway, ENCODE[sent](table), sent, accept)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == (accept or sent)
    assert response.headers["x-model-version"] == "3"
    answers = DECODE[accept or sent](response.content)
    assert scored(answers) == expected
    assert len({answer["prediction_id"] for answer in answers}) == 600
    if sent != JSON:
        start = 2 if sent == CSV else 0
        assert [answer["row"] for answer in answers] == list(range(start, start + 600))


@pytest.mark.parametrize("sent", ENCODE)
def test_forms_are_answered_in_their_files_type(gateway, table, expected, sent) -> None:
    files = {"file": ("transactions", ENCODE[sent](table), sent)}
    response = gateway.client.post("/predict-batch", files=files)
    assert response.headers["content-type"].partition(";")[0] == sent
    assert scored(DECODE[sent](response.content)) == expected


@pytest.mark.parametrize("media_type", TABLES)
def test_tables_give_reasons_when_asked(gateway, table, media_type) -> None:
    few = table.slice(590)
    plain = DECODE[media_type](post(gateway, csv_bytes(few), CSV, media_type).content)
    assert "reasons" not in plain[0]
    asked = DECODE[media_type](post(gateway, csv_bytes(few), CSV, media_type, "?explain=true").content)
    in_json = post(gateway, json_bytes(few), JSON, JSON, "?explain=true").json()
    assert [json.loads(answer["reasons"])["reasons"] for answer in asked] == [answer["reasons"] for answer in in_json]


def test_tables_say_amounts_when_asked(gateway, table) -> None:
    rows = [0, 7, 599]
    bad = table.take(rows).to_pylist()
    bad[1]["V1"] = None
    answer = DECODE[CSV](
        post(gateway, csv_bytes(pa.Table.from_pylist(bad)), CSV, CSV, "?amounts=true&on_error=skip").content
    )
    amounts = table["Amount"].to_pylist()
    assert [row["amount"] for row in answer] == [amounts[0], None, amounts[599]]
    assert "amount" not in DECODE[CSV](post(gateway, csv_bytes(table), CSV).content)[0]


@pytest.mark.parametrize("media_type", ENCODE)
def test_no_rows(gateway, table, media_type) -> None:
    response = post(gateway, ENCODE[media_type](table.slice(0, 0)), media_type)
    assert (response.status_code, DECODE[media_type](response.content)) == (200, [])


@pytest.mark.parametrize("sent", ENCODE)
def test_one_bad_row_refuses_the_batch(gateway, table, sent) -> None:
    amounts = table["Amount"].to_numpy().copy()
    amounts[3] = -1
    spoilt = table.set_column(table.schema.names.index("Amount"), "Amount", [amounts])
    response = post(gateway, ENCODE[sent](spoilt), sent)
    assert response.status_code == 422
    row = 5 if sent == CSV else 3
    message = "Input should be greater than or equal to 0"
    assert response.json()["errors"] == [{"row": row, "field": "Amount", "message": message}]


@pytest.mark.parametrize("accept", ENCODE)
@pytest.mark.parametrize("sent", ENCODE)
def test_bad_rows_can_be_skipped(gateway, table, expected, sent, accept) -> None:
    values = [None if place in (0, 7) else value for place, value in enumerate(table["V1"].to_pylist())]
    spoilt = table.set_column(1, "V1", [values])
    response = post(gateway, ENCODE[sent](spoilt), sent, accept, "?on_error=skip")
    assert response.status_code == 200
    answers = DECODE[accept](response.content)
    skipped = [place for place, answer in enumerate(answers) if answer.get("error")]
    assert skipped == [0, 7]
    assert answers[7]["error"].startswith("V1: Input should be a ")
    assert answers[7]["row"] == (9 if sent == CSV else 7)
    assert answers[7].get("hybrid_score") is None
    good = [answer for place, answer in enumerate(answers) if place not in skipped]
    assert scored(good) == [answer for place, answer in enumerate(expected) if place not in skipped]


def test_a_hundred_faults_are_named(gateway, table) -> None:
    lines = csv_bytes(table).splitlines()
    response = post(gateway, b"\n".join([lines[0], *(b"nonsense" for _ in range(500))]), CSV)
    errors = response.json()["errors"]
    assert len(errors) == 100
    assert errors[0] == {"row": 2, "message": "Expected 31 cells, found 1"}


@pytest.mark.parametrize("sent", TABLES)
def test_columns_are_checked_first(gateway, table, sent) -> None:
    spoilt = table.drop_columns(["V3"]).append_column("Card", table["V3"])
    response = post(gateway, ENCODE[sent](spoilt), sent, query="?on_error=skip")
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"field": "V3", "message": "Column required"},
        {"field": "Card", "message": "Unknown column."},
    ]


@pytest.mark.parametrize("sent", [PARQUET, ARROW])
def test_columns_of_another_kind(gateway, table, sent) -> None:
    spoilt = table.set_column(1, "V1", pa.array(["x"] * 600))
    errors = post(gateway, ENCODE[sent](spoilt), sent).json()["errors"]
    assert errors == [{"field": "V1", "message": "Column should hold numbers, not string"}]
    small = table.set_column(1, "V1", pa.array(np.ones(600, dtype=np.int8)))
    assert post(gateway, ENCODE[sent](small), sent).status_code == 200


@pytest.mark.parametrize("sent", [PARQUET, ARROW])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_files_that_are_cut_off(gateway, table, sent, share) -> None:
    body = ENCODE[sent](table)
    response = post(gateway, body[: int(share * len(body))], sent)
    assert response.status_code == 400
    assert "damaged or cut off" in response.json()["detail"]


def test_types_that_are_neither_read_nor_written(gateway, table) -> None:
    assert post(gateway, b"x", "application/xml").status_code == 415
    refused = post(gateway, csv_bytes(table), CSV, "text/html")
    assert refused.status_code == 406
    assert CSV in refused.json()["detail"]
    packed = {"Content-Type": CSV, "Content-Encoding": "gzip"}
    assert gateway.client.post("/predict-batch", content=b"x", headers=packed).status_code == 415


def test_on_error_has_two_values(gateway, table) -> None:
    response = post(gateway, csv_bytes(table), CSV, query="?on_error=ignore")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["on_error"]


@pytest.mark.parametrize(
    ("limit", "sent", "said"),
    [
        ({"max_upload_bytes": 100_000}, CSV, "larger than 100000 bytes"),
        *(({"max_upload_rows": 599}, sent, "more than 599 rows") for sent in TABLES),
        *(({"max_upload_seconds": 1e-6}, sent, "takes more than") for sent in ENCODE),
    ],
)
def test_uploads_have_limits(serve, source, scorer, table, limit, sent, said) -> None:
    source.promote(1, scorer)
    with serve(source, **limit) as small:
        small.wait_for(1)
        refused = post(small, ENCODE[sent](table), sent)
        assert refused.status_code == 413
        assert said in refused.json()["detail"]


@pytest.mark.parametrize("sent", [PARQUET, ARROW])
@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view(), pa.large_binary(), pa.string()], ids=str)
def test_text_of_any_kind(gateway, table, expected, sent, kind) -> None:
    values = table["transaction_id"].to_pylist()
    text = pa.array([value if "string" in str(kind) else value.encode() for value in values], kind)
    if kind == pa.string():
        text = text.dictionary_encode()
    place = table.schema.names.index("transaction_id")
    response = post(gateway, ENCODE[sent](table.set_column(place, "transaction_id", text)), sent)
    assert response.status_code == 200
    assert scored(DECODE[sent](response.content)) == expected


@pytest.mark.parametrize("sent", [PARQUET, ARROW])
def test_the_index_of_pandas_is_no_data(gateway, table, expected, sent) -> None:
    indexed = table.append_column("__index_level_0__", pa.array(range(600)))
    assert scored(DECODE[sent](post(gateway, ENCODE[sent](indexed), sent).content)) == expected


def test_columns_that_are_nearly_right_are_told_so(gateway, table) -> None:
    named = ["" if name == "V2" else name.lower() if name == "V1" else name for name in table.schema.names]
    errors = post(gateway, parquet_bytes(table.rename_columns(named)), PARQUET).json()["errors"]
    assert [error["message"] for error in errors] == [
        "Column required",
        "Column required",
        "Unknown column. Write it V1.",
        "Unknown column. It may be the row index of pandas: write the file with index=False.",
    ]


def test_no_cell_of_a_csv_is_a_formula(gateway, table) -> None:
    names = ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\t=1", "plain", "a=b", "'quoted"]
    place = table.schema.names.index("transaction_id")
    named = table.slice(0, len(names)).set_column(place, "transaction_id", pa.array(names))
    answers = DECODE[CSV](post(gateway, json_bytes(named), JSON, CSV).content)
    assert [answer["transaction_id"] for answer in answers] == [*("'" + name for name in names[:5]), *names[5:]]
    exact = DECODE[PARQUET](post(gateway, json_bytes(named), JSON, PARQUET).content)
    assert [answer["transaction_id"] for answer in exact] == names


def test_a_rows_faults_are_counted_rather_than_told(gateway, table) -> None:
    empty = pa.table({name: pa.nulls(50, pa.float64()) for name in RAW_FEATURES})
    errors = post(gateway, parquet_bytes(empty), PARQUET).json()["errors"]
    assert len(errors) == 100
    assert errors[10] == {"row": 0, "message": "20 more fields are missing or invalid"}
    skipped = post(gateway, parquet_bytes(empty), PARQUET, JSON, "?on_error=skip").json()
    assert len(skipped) == 50
    assert skipped[49]["error"].count("; ") == 10


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("sent", TABLES)
def test_the_work_ends_with_its_client(serve, source, scorer, table, caplog, sent) -> None:
    source.promote(1, scorer)
    unnamed = table.drop_columns(["transaction_id"])
    many = pa.concat_tables([unnamed] * 80).combine_chunks()
    with serve(source) as running:
        running.wait_for(1)
        headers = {"Content-Type": sent}
        query = "/predict-batch?explain=true&on_error=skip"
        with running.client.stream("POST", query, content=ENCODE[sent](many), headers=headers) as response:
            next(response.iter_raw())
        wait_for(lambda: 499 in [getattr(record, "fields", {}).get("status") for record in caplog.records])
        kept = running.client.get("/watch", params={"hours": 1}).json()["rows"]
        assert 0 < kept < len(many)
        assert running.app.state.gateway.batches.borrowed_tokens == 0


def test_a_full_disk_is_507(gateway, table) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, hard))
    try:
        response = post(gateway, csv_bytes(table) * 8, CSV)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert response.status_code == 507
    assert response.json()["title"] == "Insufficient Storage"


def test_a_disk_that_takes_nothing_is_507_and_says_why(gateway, table, tmp_path) -> None:
    """As one that the kernel made read-only after a fault."""
    spool = gateway.app.state.gateway.settings.upload_spool
    spool.mkdir(parents=True, exist_ok=True)
    spool.rename(tmp_path / "aside")
    spool.touch()
    try:
        response = post(gateway, csv_bytes(table), CSV)
    finally:
        spool.unlink()
        (tmp_path / "aside").rename(spool)
    assert (response.status_code, response.json()["title"]) == (507, "Insufficient Storage")
    assert "cannot write to its disk: File exists" in response.json()["detail"]
    assert post(gateway, csv_bytes(table), CSV).status_code == 200


def test_a_swap_in_the_middle_does_not_show(serve, source, make_scorer, table) -> None:
    source.promote(1, make_scorer(alert=0.3))
    # without names, which would bring the answers of the first version again
    header, _, rows = csv_bytes(table.drop_columns(["transaction_id"])).partition(b"\n")
    versions: set[str] = set()
    with serve(source, batch_threads=1) as running:
        running.wait_for(1)
        stop = threading.Event()

        def swap() -> None:
            for version in range(2, 1_000):
                if stop.is_set():
                    return
                source.promote(version, make_scorer(alert=0.3 + 0.1 * (version % 5)))
                running.wait_for(version)

        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            for _ in range(3):
                response = post(running, header + b"\n" + rows * 20, CSV, PARQUET)
                answers = parquet.read_table(io.BytesIO(response.content), columns=["model_version", "threshold_used"])
                assert len(answers) == 12_000
                assert answers["model_version"].unique().to_pylist() == [response.headers["x-model-version"]]
                assert len(answers["threshold_used"].unique()) == 1
                versions.add(response.headers["x-model-version"])
        finally:
            stop.set()
            swapping.join()
    assert len(versions) > 1


def test_items_come_in_order() -> None:
    assert list(prefetched(iter([3, None, 1]))) == [3, None, 1]
    assert list(prefetched(iter([]))) == []


def test_the_next_item_is_made_while_the_last_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = prefetched(items())
    assert next(taken) == 0
    assert made[1].wait(60)
    assert not made[2].is_set()
    assert list(taken) == [1, 2]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    taken = prefetched(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="second"):
        next(taken)


def test_what_is_known_of_the_request_is_known_there_too() -> None:
    known: ContextVar[str] = ContextVar("known")
    known.set("here")

    def items() -> Iterator[str]:
        yield known.get()

    assert list(prefetched(items())) == ["here"]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    taken = prefetched(iter(range(100)))
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
