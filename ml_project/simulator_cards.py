"""Card transactions of customers at terminals from nothing but a seed: those of the contract `cards`.

After the published description of Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit
Card Fraud Detection: Practical Handbook" (2022), chapter 3: customers and terminals on a map, a customer's habits, and
three kinds of fraud. Single transactions say little here; what a customer or a terminal did before says much.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.errors import InvalidInput
from ml_project.operators import SECONDS_PER_DAY

COLUMNS: Final = ("transaction", "at", "customer", "terminal", "amount", "fraud")
"""The contract's fields and label, in the order in which the simulator gives them."""

_MAP: Final = 100.0
_MEAN_AMOUNT: Final = (5.0, 100.0)
_MOST_PER_DAY: Final = 4.0
_NOON: Final = SECONDS_PER_DAY / 2
_AROUND_NOON: Final = 20_000.0
_LARGE: Final = 220.0
_TERMINAL_DAYS: Final = 28
_CUSTOMER_DAYS: Final = 14
_TIMES: Final = 5.0
_ONE_IN: Final = 3
_NEVER: Final = -1


@dataclass(frozen=True)
class CardWorld:
    """Who pays where and for how long; by default as published.

    Attributes
    ----------
    customers, terminals, days : int
        A customer makes about two transactions a day.
    radius : float
        How far on a map of 100 by 100 a customer goes to a terminal; one without any near makes no transactions.
    terminals_per_day, customers_per_day : float
        How many of them fraudsters take over every day, on average: a terminal for 28 days, a customer for 14.
    first_day : date
    """

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    radius: float = 5.0
    terminals_per_day: float = 2.0
    customers_per_day: float = 3.0
    first_day: date = date(2018, 4, 1)

    @classmethod
    def of_rows(cls, rows: int, days: int = 90) -> "CardWorld":
        """Of about as many transactions: a smaller or larger population as dense and as beset as the published one.

        Raises
        ------
        InvalidInput
            When they are too few for one customer.
        """
        whole, customers = cls(), round(rows / (days * _MOST_PER_DAY / 2 * _WITHIN_A_DAY))
        if customers < 1:
            least = round(days * _MOST_PER_DAY / 2)
            raise InvalidInput(f"{rows} transactions are fewer than a customer's of {days} days.", f"Ask for {least}.")
        share = customers / whole.customers
        return cls(
            customers=customers,
            terminals=round(whole.terminals * share) or 1,
            days=days,
            radius=whole.radius / share**0.5,
            terminals_per_day=whole.terminals_per_day * share,
            customers_per_day=whole.customers_per_day * share,
        )


_WITHIN_A_DAY: Final = 0.969
"""Share of the moments around noon that fall into the day; the others are left out, as published."""


def simulate_cards(world: CardWorld, *, seed: int = 0) -> Iterator[pd.DataFrame]:
    """Simulate card transactions, day by day, in bounded memory.

    Parameters
    ----------
    world : CardWorld
    seed : int
        Equal arguments give equal rows. Every day has its own child stream of this seed.

    Yields
    ------
    DataFrame
        A day's transactions with the columns ``COLUMNS``, in time order: names as text, whole seconds in UTC, amounts
        in cents' precision, fraud as 1 and 0. Days without any are left out.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    mean = rng.uniform(*_MEAN_AMOUNT, world.customers)
    near, first, count = _terminals_near(world, rng)
    rate = np.where(count > 0, rng.uniform(0, _MOST_PER_DAY, world.customers), 0.0)
    terminal_until = np.full(world.terminals, _NEVER)
    customer_until = np.full(world.customers, _NEVER)
    midnight = pd.Timestamp(world.first_day, tz="UTC").as_unit("us")
    done = 0
    for day in range(world.days):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(day + 1,)))
        _take_over(terminal_until, world.terminals_per_day, day + _TERMINAL_DAYS, rng)
        _take_over(customer_until, world.customers_per_day, day + _CUSTOMER_DAYS, rng)
        customer = np.repeat(np.arange(world.customers), rng.poisson(rate))
        seconds = rng.normal(_NOON, _AROUND_NOON, len(customer))
        within = (seconds > 0) & (seconds < SECONDS_PER_DAY)
        order = np.argsort(seconds[within], kind="stable")
        customer, seconds = customer[within][order], np.floor(seconds[within][order])
        if not len(customer):
            continue
        amount = rng.normal(mean[customer], mean[customer] / 2)
        amount = np.where(amount < 0, rng.uniform(0, 2 * mean[customer]), amount)
        terminal = near[first[customer] + (rng.random(len(customer)) * count[customer]).astype(np.int64)]
        overspent = (customer_until[customer] > day) & (rng.random(len(customer)) < 1 / _ONE_IN)
        fraud = (amount > _LARGE) | (terminal_until[terminal] > day) | overspent
        yield pd.DataFrame(
            {
                "transaction": _names("p", done + np.arange(len(customer))),
                "at": midnight + pd.to_timedelta(day * SECONDS_PER_DAY + seconds, unit="s").as_unit("us"),
                "customer": _names("c", customer),
                "terminal": _names("t", terminal),
                "amount": np.round(np.where(overspent, amount * _TIMES, amount), 2),
                "fraud": fraud.astype(np.int8),
            }
        )
        done += len(customer)


def _names(kind: str, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
    return np.array([f"{kind}{number}" for number in numbers.tolist()], dtype=object)


def _terminals_near(
    world: CardWorld, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Terminals by customer: those of customer c are ``near[first[c] : first[c] + count[c]]``."""
    customers, terminals = rng.uniform(0, _MAP, (world.customers, 2)), rng.uniform(0, _MAP, (world.terminals, 2))
    order = np.argsort(terminals[:, 0])
    across, up = terminals[order].T
    begin = np.searchsorted(across, customers[:, 0] - world.radius)
    end = np.searchsorted(across, customers[:, 0] + world.radius, side="right")
    found = []
    for (x, y), low, high in zip(customers, begin, end, strict=True):
        inside = (across[low:high] - x) ** 2 + (up[low:high] - y) ** 2 < world.radius**2
        found.append(order[low:high][inside])
    count = np.array([len(each) for each in found], dtype=np.int64)
    return np.concatenate(found), np.cumsum(count) - count, count


def _take_over(until: NDArray[np.int64], per_day: float, end: int, rng: np.random.Generator) -> None:
    """Mark as many, chosen anew, as taken over until the day ``end``; a fraction of one is a chance of one."""
    many = int(per_day) + int(rng.random() < per_day % 1)
    until[rng.choice(len(until), min(many, len(until)), replace=False)] = end
