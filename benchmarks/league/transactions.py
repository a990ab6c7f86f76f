"""The handbook's transactions, or simulated ones where they are absent, as data sets: authors' features, and ours."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.bench_history import EVENTS, transactions
from ml_project.contract import Contract
from ml_project.contract_file import contract_named
from ml_project.contract_parts import ContractField, Feature, Label
from ml_project.dataset import Dataset, events_of, with_history
from ml_project.history import Integers, compute_history
from ml_project.operators import SECONDS_PER_DAY
from ml_project.simulator_cards import CardWorld, simulate_cards

DAYS: Final = 157
SIMULATED_ROWS: Final = 300_000
CUSTOMERS: Final = 5_000
CARDS_PER_DAY: Final = 100
"""Customers that are looked at each day of the published league, which has so many customers."""

_WINDOWS: Final = (1, 7, 30)
_DELAY: Final = 7
_LAST_HOUR_OF_NIGHT: Final = 6


@dataclass(frozen=True)
class League:
    """One table seen in two ways; row i of both is the same transaction, in time order.

    Attributes
    ----------
    authors, ours : Dataset
        By the 15 features of the handbook, and by the contract `cards`.
    table : DataFrame
        The transactions themselves.
    customer : ndarray of shape (n,), int64
        Whose transaction it is.
    cards_per_day : int
        Of card precision.
    source : str
        Where the transactions are from, in words.
    """

    authors: Dataset
    ours: Dataset
    table: pd.DataFrame
    customer: Integers
    cards_per_day: int
    source: str

    @property
    def day(self) -> Integers:
        """Days since 1970, (n,)."""
        return np.floor(self.ours.moment / SECONDS_PER_DAY).astype(np.int64)


def league(rows: int | None = None) -> League:
    """Everything that the league needs.

    Parameters
    ----------
    rows : int, optional
        About as many simulated transactions; by default the handbook's own, or ``SIMULATED_ROWS`` where those are not.
    """
    if rows is None and EVENTS.is_file():
        return league_of(transactions()[0], "the handbook's transactions")
    world = CardWorld.of_rows(rows or SIMULATED_ROWS, DAYS)
    table = pd.concat(simulate_cards(world), ignore_index=True)
    cards = max(1, round(CARDS_PER_DAY * world.customers / CUSTOMERS))
    return league_of(table, f"simulated transactions of {world.customers:,} customers", cards)


def league_of(table: pd.DataFrame, source: str, cards_per_day: int = CARDS_PER_DAY) -> League:
    """From a clean table in time order."""
    contract = contract_named("cards")
    ours = Dataset.from_frame(with_history(table, contract), contract)
    columns = authors_features(table)
    ones = np.ones(len(table))
    authors = Dataset(authors_contract(columns), columns.to_numpy(dtype=np.float64), ours.label, ones, ours.moment)
    customer = pd.factorize(table["customer"])[0].astype(np.int64)
    return League(authors, ours, table, customer, cards_per_day, source)


def authors_features(table: pd.DataFrame) -> pd.DataFrame:
    """The 15 features that the handbook's models see (chapter 3), of all rows.

    Terminals are counted in windows that end 7 days before: in one that is 7 days longer less the last 7 days.
    """
    longer = [_DELAY, *(_DELAY + days for days in _WINDOWS)]
    asked = [_feature("count", "customer", days) for days in _WINDOWS]
    asked += [_feature("mean", "customer", days, of=("amount",)) for days in _WINDOWS]
    asked += [_feature("count", "terminal", days) for days in longer]
    asked += [_feature("fraud_rate", "terminal", days, delay=f"{_DELAY}d") for days in _WINDOWS]
    contract = contract_named("cards")
    events = events_of(table, contract)
    values = dict(zip((each.name for each in asked), compute_history(contract, events, asked).T, strict=True))
    for days in _WINDOWS:
        values[f"terminal_late_count_{days}d"] = (
            values[f"terminal_count_{_DELAY + days}d"] - values[f"terminal_count_{_DELAY}d"]
        )
    found = {
        "amount": table["amount"].to_numpy(),
        "weekend": (table["at"].dt.weekday >= 5).to_numpy(),
        "night": (table["at"].dt.hour <= _LAST_HOUR_OF_NIGHT).to_numpy(),
    }
    for days in _WINDOWS:
        found |= {name: values[name] for name in (f"customer_count_{days}d", f"customer_mean_{days}d")}
    for days in _WINDOWS:
        found |= {name: values[name] for name in (f"terminal_late_count_{days}d", f"terminal_fraud_rate_{days}d")}
    return pd.DataFrame(found, dtype=np.float64)


def _feature(operator: str, by: str, days: int, **more: object) -> Feature:
    name = f"{by}_{operator}_{days}d"
    return Feature.model_validate({"name": name, "operator": operator, "by": by, "window": f"{days}d", **more})


def authors_contract(columns: pd.DataFrame) -> Contract:
    """The authors' columns as plain numbers."""
    return Contract(
        contract="handbook",
        fields=tuple(
            ContractField(name=name, type="number", role="amount" if name == "amount" else None) for name in columns
        ),
        label=Label(field="fraud", positive=("1",), negative=("0",)),
        features=tuple(Feature(name=name, operator="value", of=(name,)) for name in columns),
    )
