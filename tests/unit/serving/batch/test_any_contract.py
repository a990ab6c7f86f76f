"""Whatever the contract: requests, files, scoring and training read a transaction as the same numbers."""

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from ml_project.cleaning import clean
from ml_project.contract import Contract
from ml_project.contract_check import RESERVED
from ml_project.contract_file import _RANGE
from ml_project.dataset import Dataset
from ml_project.features import OPERATORS, FeatureTransform
from ml_project.operators import HistoryOperator, ListOperator
from pipelines.data.csv_text import read_csv as read_training_csv
from pipelines.scoring.rows import _raw as read_scoring_batch
from serving.batch.csv import read_csv
from serving.batch.readers import check_types, chunk_of
from serving.transactions import Chunk, TransactionParser
from tests.support.shop import CARDS, card_transactions

OWN: Final = {"event_time", "sampling_weight", "transaction_id", "fraud"}
LABEL: Final = "fraud"

plain = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp")), min_size=1, max_size=12).map(
    str.strip
)
words = plain.filter(bool)
names = words.filter(
    lambda text: not _RANGE.fullmatch(text) and not text.casefold().startswith("sep=") and '"' not in text
)


@dataclass(frozen=True)
class Table:
    """A contract, and rows as a client would send them."""

    contract: Contract
    rows: list[dict[str, Any]]


@st.composite
def fields(draw: DrawFn, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["number", "integer", "boolean", "category", "timestamp"]))
    found: dict[str, Any] = {"name": name, "type": kind, "required": draw(st.booleans())}
    if kind == "category":
        found["values"] = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    if kind in ("number", "integer") and draw(st.booleans()):
        found["minimum"] = 0
    return found


@st.composite
def features(draw: DrawFn, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One that suits each field, named by its place."""
    found = []
    for place, field in enumerate(known):
        suitable = [
            name
            for name, operator in OPERATORS.items()
            if field["type"] in operator.types
            and not (name == "missing" and field["required"])
            and not (name == "log1p" and field.get("minimum") != 0)
            and name != "one_hot"
            and not issubclass(operator, HistoryOperator)
        ]
        name = draw(st.sampled_from(suitable))
        operator = OPERATORS[name]
        arguments = 3 if issubclass(operator, ListOperator) else operator.arguments
        found.append({"name": f"feature {place}", "operator": name, "of": [field["name"]] * arguments})
        if field["type"] == "category":
            chosen = draw(st.sampled_from(["", *field["values"]]))
            found.append({"name": f"hot {place}", "operator": "one_hot", "of": [field["name"]], "category": chosen})
    return found


def values(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = field.get("minimum", -1_000_000)
    kinds = {
        "number": st.floats(low, 1e6, allow_nan=False).map(lambda value: value + 0.0),
        "integer": st.integers(low, 1_000_000),
        "boolean": st.booleans(),
        "category": st.sampled_from(field.get("values", ["a"])) | words,
        "timestamp": st.datetimes(
            min_value=pd.Timestamp("1970-01-02").to_pydatetime(), max_value=pd.Timestamp("2100-01-01").to_pydatetime()
        ).map(lambda moment: f"{moment.isoformat()}+01:00"),
    }
    one = kinds[field["type"]]
    return one if field["required"] else st.none() | one


@st.composite
def tables(draw: DrawFn) -> Table:
    called = draw(st.lists(names, min_size=2, max_size=6, unique_by=str.casefold))
    assume(not {*called} & (RESERVED | OWN) and not {name.casefold() for name in called} & {*OWN})
    known = [draw(fields(name)) for name in called]
    known[0] |= {"type": "number", "required": True}
    known[0].pop("values", None)
    contract = Contract.model_validate(
        {"contract": "any", "fields": known, "label": {"field": LABEL}, "features": draw(features(known))}
    )
    rows = draw(st.lists(st.fixed_dictionaries({each["name"]: values(each) for each in known}), min_size=1, max_size=6))
    return Table(contract, rows)


def csv_of(table: Table, **others: list[int]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.contract.raw_fields, *others])
    for place, row in enumerate(table.rows):
        cells = [
            "" if value is None else repr(value) if isinstance(value, float) else value
            for value in (row[name] for name in table.contract.raw_fields)
        ]
        writer.writerow([*cells, *(column[place] for column in others.values())])
    return text.getvalue().encode()


def arrow_of(table: Table) -> pa.RecordBatch:
    columns = {}
    for field in table.contract.scored_fields:
        given = [row[field.name] for row in table.rows]
        types = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}
        columns[field.name] = pa.array(given, types.get(field.type, pa.string()))
    return pa.RecordBatch.from_pydict(columns)


def raw_of(chunks: list[Chunk]) -> np.ndarray:
    assert [error for chunk in chunks for error in chunk.errors] == []
    return np.concatenate([chunk.transactions.raw for chunk in chunks])


@settings(max_examples=100)
@given(tables())
def test_a_transaction_is_the_same_numbers_wherever_it_is_read(table: Table) -> None:
    contract = table.contract
    by_json = raw_of([TransactionParser(contract).batch(json.dumps(table.rows).encode(), 100)])
    batch = arrow_of(table)
    check_types(batch.schema, contract)
    frame, _lines = read_training_csv(
        lambda: io.BytesIO(csv_of(table, fraud=[0] * len(table.rows))), contract, "any.csv"
    )
    cleaned, _report = clean(frame, contract)
    read = {
        "csv": raw_of(list(read_csv(io.BytesIO(csv_of(table)), contract))),
        "parquet": raw_of([chunk_of(batch, contract, np.arange(len(batch)))]),
        "score": read_scoring_batch(contract, batch)[0],
        "training": Dataset.from_frame(cleaned, contract).raw,
    }
    for raw in read.values():
        np.testing.assert_array_equal(raw, by_json)
    assert not contract.unusable(by_json).any()
    given_again = [contract.transaction(row) for row in by_json.tolist()]
    for mine, row in zip(given_again, table.rows, strict=True):
        for field in contract.scored_fields:
            sent = row[field.name]
            if field.type == "category" and sent is not None:
                sent = sent if sent in field.values else "other"
            if field.type == "timestamp" and sent is not None:
                sent = pd.Timestamp(sent).tz_convert("UTC").isoformat().replace("+00:00", "Z")
            assert mine[field.name] == sent


def test_entities_are_read_and_named_at_fault_wherever_they_stand() -> None:
    frame = card_transactions(4, seed=2).drop(columns="is_fraud").astype({"card no.": object})
    frame["since"] = None
    bodies = json.loads(frame.to_json(orient="records"))
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    text = frame.to_csv(index=False).encode()
    slow = text.replace(b"card", b'"card"', 1).replace(b"\r", b"")
    named = {"card no.": frame["card no."].tolist()}
    for chunks in (
        [TransactionParser(CARDS).batch(json.dumps(bodies).encode(), 10)],
        [chunk_of(batch, CARDS, np.arange(4))],
        list(read_csv(io.BytesIO(text), CARDS)),
        list(read_csv(io.BytesIO(slow + b"t,nonsense\n"), CARDS)),
    ):
        [chunk] = chunks
        assert chunk.transactions.entities == named
        assert chunk.transactions.take([2]).entities == {"card no.": named["card no."][2:3]}
        assert chunk.transactions.texts(CARDS) == named
    for value in ("", "c" * 65):
        frame.loc[1, "card no."] = value
        batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
        for chunk in (
            *read_csv(io.BytesIO(frame.to_csv(index=False).encode()), CARDS),
            chunk_of(batch, CARDS, np.arange(4)),
        ):
            assert [error["field"] for error in chunk.errors] == ["card no."]
            assert chunk.transactions.entities == {
                "card no.": [each for each in named["card no."] if each != named["card no."][1]]
            }


@settings(max_examples=80)
@given(tables(), st.data())
def test_one_row_and_a_table_have_the_same_features(table: Table, data: st.DataObject) -> None:
    contract = table.contract
    raw = raw_of([TransactionParser(contract).batch(json.dumps(table.rows).encode(), 100)])
    transform = FeatureTransform.fit(contract, raw, np.ones(len(raw)))
    together = transform(raw)
    alone = np.concatenate([transform(row[None]) for row in raw])
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(transform(np.asfortranarray(raw)), together)
    missing = {contract.feature_names[place] for place in np.flatnonzero(np.isnan(together).any(axis=0))}
    assert missing <= contract.may_miss
    assert not np.isinf(together).any()


@settings(max_examples=80)
@given(tables(), st.data())
def test_a_wrong_value_is_refused_by_name_in_requests_and_files(table: Table, data: st.DataObject) -> None:
    contract = table.contract
    field = data.draw(st.sampled_from([each for each in contract.scored_fields if each.type != "category"]))
    row = {**table.rows[0], field.name: "none of its type"}
    wrong = Table(contract, [row])
    chunks = [TransactionParser(contract).batch(json.dumps([row]).encode(), 100)]
    chunks += list(read_csv(io.BytesIO(csv_of(wrong)), contract))
    assert [[error["field"] for error in chunk.errors] for chunk in chunks] == [[field.name], [field.name]]
    assert all(math.isfinite(len(chunk.transactions.ids)) and not chunk.transactions.ids for chunk in chunks)
