"""Drafts of contracts: what is guessed of a table, that the draft reads the table, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_project.cleaning import clean, learnt_values
from ml_project.contract import Contract
from ml_project.contract_file import contract_named, parse_contract
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.errors import InvalidInput
from ml_project.fitting import fit_twin
from ml_project.split import split_by_time
from pipelines.data.files import read_table
from pipelines.data.infer import Wishes, infer_contract
from pipelines.data.ingest import ingest, read_ingested
from tests.support.shop import card_transactions, shop_transactions, visits


def drafted(frame: pd.DataFrame, folder: Path, wishes: Wishes, **options: object) -> tuple[Contract, str, Dataset]:
    """The draft of a table's contract, its text, and the table read by it."""
    data = folder / "table.csv"
    frame.to_csv(data, index=False, **options)
    text = infer_contract(str(data), "drafted", wishes)
    contract = parse_contract(text.encode(), "drafted.yaml")
    table = read_table(str(data), contract)
    known = contract.with_values(learnt_values(table.frame, contract))
    return known, text, Dataset.from_frame(clean(table.frame, known)[0], known)


def kinds(contract: Contract) -> dict[str, tuple[str, str | None, bool]]:
    return {field.name: (field.type, field.role, field.required) for field in contract.fields}


def test_categories_booleans_and_what_is_missing(tmp_path: Path) -> None:
    frame = visits(1_000, seed=1)
    frame.loc[frame["outcome"] == "fine", "outcome"] = "legit"
    contract, text, data = drafted(frame, tmp_path, Wishes("outcome"))
    assert kinds(contract) == {
        "channel": ("category", None, False),
        "country": ("category", None, True),
        "items": ("integer", None, False),
        "new customer": ("boolean", None, True),
        "newsletter": ("boolean", None, False),
        "score": ("number", None, False),
        "risk": ("number", None, True),
    }
    assert (contract.label.positive, contract.label.negative) == (("fraud",), ("legit",))
    assert contract.label.unknown == ("open",)
    assert f"{(frame['outcome'] == 'open').sum()} rows with an unknown label are not learnt from" in text
    assert {"channel=web", "channel=missing", "no items", "no score"} <= {*contract.feature_names}
    assert len(data) == (frame["outcome"] != "open").sum()
    assert data.frauds == (frame["outcome"] == "fraud").sum()


def test_names_times_and_cents(tmp_path: Path) -> None:
    frame = card_transactions(800, seed=1)
    contract, text, data = drafted(frame, tmp_path, Wishes("is_fraud", entities=("card no.",)))
    assert kinds(contract) == {
        "transaction": ("string", "transaction_id", False),
        "at": ("timestamp", "event_time", True),
        "card no.": ("string", "entity", True),
        "since": ("timestamp", None, False),
        "cents": ("integer", "amount", True),
        "risk": ("number", None, True),
    }
    assert contract.feature_names[:6] == ("hour", "weekend", "no since", "cents", "cents_log", "risk")
    assert contract.feature_names[6:] == (
        *("card no._count_1d", "card no._count_7d", "card no._count_30d"),
        *("card no._mean_1d", "card no._mean_7d", "card no._mean_30d"),
        "cents_to_card no._mean_30d",
        "card no._seconds_since_last",
    )
    assert '"card no._count_1d": {count: {by: "card no.", window: 1d}}  # history: what this card no. did' in text
    last = {name: data.raw[-1, contract.raw_fields.index(name)] for name in contract.raw_fields[3:]}
    card = frame["card no."].iloc[-1]
    assert last["card no._count_30d"] == (frame["card no."] == card).sum()
    assert last["card no._mean_30d"] == pytest.approx(frame.loc[frame["card no."] == card, "cents"].mean(), rel=1e-12)
    small = EnsembleSettings(forest=ForestSettings(trees=5, max_samples=64), booster=BoosterSettings(rounds=5))
    origin = {"source": "file", "digest": "0" * 64}
    fitted = fit_twin(split_by_time(data), small, LocalEngine(seed=1), origin)
    assert fitted.bundle.manifest.contract == contract, "it trains as it is"
    np.testing.assert_array_equal(np.sort(data.amount), np.sort(frame["cents"] / 100))


def test_names_that_want_quoting_decimal_commas_and_a_time_in_seconds(tmp_path: Path) -> None:
    frame = shop_transactions(600, seed=1)
    wishes = Wishes("is fraud?", time="seconds of the day", amount="betrag.in.€")
    contract, text, data = drafted(frame, tmp_path, wishes, sep=";", decimal=",")
    assert contract.raw_fields == tuple(frame.columns[:-1])
    assert (contract.time, contract.amount) == ("seconds of the day", "betrag.in.€")
    assert {field.type for field in contract.fields} == {"number", "integer"}
    assert '"select \\"all\\"": {type: number' in text
    np.testing.assert_allclose(data.raw, frame[list(contract.raw_fields)], rtol=1e-15)


def test_three_hundred_columns_are_one_line(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(200, 300))
    frame = pd.DataFrame(values, columns=[f"V{number}" for number in range(1, 301)])
    frame["target"] = np.arange(200) % 10 == 0
    contract, text, data = drafted(frame, tmp_path, Wishes("target"))
    assert "  V1..V300: {type: number, expected: " in text
    assert "  V1..V300: {value: V1..V300}" in text
    assert len(contract.features) == data.raw.shape[1] == 300
    assert data.frauds == 20


@pytest.mark.parametrize(
    ("words", "positive", "said"),
    [
        (("1", "0"), ("1",), "10.00% frauds"),
        (("yes", "no"), ("yes",), "10.00% frauds"),
        (("True", "False"), ("true",), "10.00% frauds"),
        (("chargeback", "settled"), ("chargeback",), "a guess: 'chargeback' is the rarer one"),
    ],
)
def test_labels(tmp_path: Path, words: tuple[str, str], positive: tuple[str], said: str) -> None:
    frame = pd.DataFrame({"x": np.arange(100.0) + 0.5, "label": [words[place % 10 > 0] for place in range(100)]})
    contract, text, data = drafted(frame, tmp_path, Wishes("label"))
    assert contract.label.positive == positive
    assert said in text
    assert data.frauds == 10


def test_texts_that_are_names_and_categories_that_are_many(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "customer": [f"c{number}" for number in rng.integers(0, 400, 1_000)],
            "merchant category": [f"m{number}" for number in rng.integers(0, 40, 1_000)],
            "order": [f"o{number}" for number in range(1_000)],
            "constant": "EUR",
            "label": rng.integers(0, 2, 1_000),
        }
    )
    contract, text, _data = drafted(frame, tmp_path, Wishes("label"))
    assert kinds(contract) == {
        "customer": ("string", "entity", True),
        "merchant category": ("category", None, True),
        "order": ("string", "transaction_id", False),
        "constant": ("category", None, True),
    }
    assert contract.feature_names == ("merchant category",)
    assert contract.features[0].operator == "frequency"
    assert "always the same: no feature is made of it" in text


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes("fraud"), r"there is no column 'fraud'\. The columns are a, b, label\."),
        (Wishes("label", time="when"), "there is no column 'when'"),
        (Wishes("label", time="b"), "The time b holds neither times nor seconds"),
        (Wishes("label", amount="b"), "The amount b is not a number, missing in some rows, or negative"),
        (Wishes("a"), "The label a has 100 values"),
    ],
)
def test_what_cannot_be_drafted_is_said(tmp_path: Path, wishes: Wishes, said: str) -> None:
    frame = pd.DataFrame({"a": np.arange(100.0) - 50.5, "b": ["x", "y"] * 50, "label": [0, 1] * 50})
    with pytest.raises(InvalidInput, match=said):
        drafted(frame, tmp_path, wishes)


def test_columns_that_cannot_be_fields_are_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(100.0) - 50.5, "b": ["x", "y"] * 50, "label": [0, 1] * 50})
    with pytest.raises(InvalidInput, match=r"columns cannot be fields.*decision.*Rename the column"):
        drafted(frame.rename(columns={"b": "decision"}), tmp_path, Wishes("label"))


def test_the_public_table_of_2023_is_another_contract(tmp_path: Path) -> None:
    """Columns id, V1 to V28, Amount, Class, as many frauds as legitimate rows, and no time."""
    rng, rows = np.random.default_rng(0), 400
    fraud = rng.integers(0, 2, rows)
    frame = pd.DataFrame(rng.normal(size=(rows, 28)) + fraud[:, None], columns=[f"V{k}" for k in range(1, 29)])
    frame.insert(0, "id", range(rows))
    frame = frame.assign(Amount=rng.uniform(50, 24_000, rows).round(2), Class=fraud)
    frame.to_csv(tmp_path / "creditcard_2023.csv", index=False)
    contract = contract_named("creditcard2023")
    done = ingest(
        str(tmp_path / "creditcard_2023.csv"), tmp_path / "data.parquet", contract, cache=tmp_path, on_notice=print
    )
    clean_rows, meta = read_ingested(done.path, contract)
    assert (meta.cleaning.rows_out, meta.cleaning.frauds, meta.cleaning.order) == (rows, fraud.sum(), "file")
    data = Dataset.from_frame(clean_rows, contract)
    np.testing.assert_array_equal(data.raw, frame[[*contract.raw_fields]])
    assert clean_rows["id"].tolist() == [str(number) for number in range(rows)]
    assert (contract.time, contract.amount, contract.clock) == (None, "Amount", None)


def test_history_needs_a_time_and_does_without_amounts(tmp_path: Path) -> None:
    frame = card_transactions(300, seed=1).drop(columns=["cents", "since"])
    wishes = Wishes("is_fraud", time="at", entities=("card no.", "transaction"))
    contract, _text, _data = drafted(frame, tmp_path, wishes)
    assert [feature.operator for feature in contract.history] == [*["count"] * 3, "seconds_since_last"] * 2
    timeless, _text, _data = drafted(frame.drop(columns="at"), tmp_path, Wishes("is_fraud", entities=("card no.",)))
    assert timeless.history == ()
