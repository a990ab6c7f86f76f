"""Card transactions from nothing but a seed: the offline default, the scale test and the drift test.

The rows have the structure of the public data set "Credit Card Fraud Detection" (marginals, dependence, fraud
clusters, daily rhythm, Amount's mass points and tail), and the same difficulty: some frauds look legitimate.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.errors import InvalidInput
from ml_project.operators import SECONDS_PER_DAY
from ml_project.simulator_model import COMPONENTS, HOURS, SimulatorModel, load

_SECONDS_PER_HOUR: Final = SECONDS_PER_DAY // HOURS
FIELDS: Final = ("Time", *COMPONENTS, "Amount")
"""The raw fields of the contract that it makes transactions for, `creditcard`, in order."""

LABEL: Final = "Class"
TELLING: Final = "V14"
"""Where simulated frauds stand out most."""


_DRIFTABLE: Final = FIELDS[1:]


@dataclass(frozen=True)
class Transactions:
    """One chunk of transactions, ordered by Time.

    Attributes
    ----------
    raw : (n, 30)
        In the order of ``FIELDS``: Time in whole seconds, V1..V28, Amount in cents' precision.
    label : (n,)
        1 for fraud, 0 for legitimate.
    """

    raw: NDArray[np.float64]
    label: NDArray[np.int8]


@dataclass(frozen=True)
class FraudWave:
    """A time in which fraud is more frequent, the surplus coming from one fraud cluster.

    Attributes
    ----------
    start_hour : float
        Hours after the simulation's ``start``.
    hours : float
        How long the wave lasts.
    factor : float
        By how much it multiplies the fraud rate (at least 1; the rate itself stops at 1).
    """

    start_hour: float
    hours: float
    factor: float


@dataclass(frozen=True)
class _Plan:
    """The checked arguments of one simulation."""

    rows: int
    seed: int
    days: float
    start: float
    shift: NDArray[np.float64]
    amount_factor: float
    wave: FraudWave | None
    chunk_rows: int
    arrivals: NDArray[np.float64]
    fraud_probability: NDArray[np.float64]


def simulate(
    rows: int,
    *,
    seed: int = 0,
    fraud_rate: float = 0.00173,
    days: float = 2.0,
    start: float = 0.0,
    drift: Mapping[str, float] | None = None,
    amount_factor: float = 1.0,
    fraud_wave: FraudWave | None = None,
    chunk_rows: int = 100_000,
) -> Iterator[Transactions]:
    """Simulate card transactions, chunk by chunk, in bounded memory.

    Parameters
    ----------
    rows : int
        How many, over all chunks.
    seed : int
        Equal arguments give equal rows, bit for bit on one machine, however many threads it uses (another
        processor's linear algebra may round the last float32 digit differently). Every chunk has its own child
        stream of this seed, so ``chunk_rows`` is one of the arguments.
    fraud_rate : float
        Expected share of frauds; each row is a fraud by its own draw.
    days, start : float
        Time runs from ``start`` (seconds; a multiple of 86,400 is midnight) for that many days.
    drift : mapping of str to float, optional
        Shift of a feature of both classes, in standard deviations of that feature. Amounts stop at 0.
    amount_factor : float
        Multiplies Amount.
    fraud_wave : FraudWave, optional
    chunk_rows : int
        Rows per chunk; the last one may be shorter.

    Yields
    ------
    Transactions
        Time never decreases, neither within a chunk nor from one to the next.

    Raises
    ------
    InvalidInput
        At the call, for an argument out of its range or a drifting feature that does not exist.
    """
    model = load()
    _check(rows, seed, fraud_rate, days, start, amount_factor, fraud_wave, chunk_rows)
    # With r_c(h) the hourly rate of class c, arrivals are the mixture and P(fraud | h) is Bayes' rule.
    arrivals = (1 - fraud_rate) * model.rate[0] + fraud_rate * model.rate[1]
    plan = _Plan(
        rows=rows,
        seed=seed,
        days=days,
        start=start,
        shift=_shift(drift or {}, model),
        amount_factor=amount_factor,
        wave=fraud_wave,
        chunk_rows=chunk_rows,
        arrivals=arrivals,
        fraud_probability=fraud_rate * model.rate[1] / arrivals,
    )
    return _chunks(plan, model)


def _chunks(plan: _Plan, model: SimulatorModel) -> Iterator[Transactions]:
    # spawn_key (0,) is the stream of what all chunks share; (i + 1,) that of chunk i.
    shared = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(0,)))
    wave_cluster = model.open_fraud(shared)
    begun = 0.0
    for number, done in enumerate(range(0, plan.rows, plan.chunk_rows)):
        rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(number + 1,)))
        left = plan.rows - done
        count = min(plan.chunk_rows, left)
        # The chunk ends at the count-th of the `left` uniform arrivals still to come (order statistics are Beta
        # distributed: David and Nagaraja 2003, "Order Statistics"); those before it are uniform in between. So
        # the stream is ordered without ever being held as a whole.
        ended = begun + (1 - begun) * shared.beta(count, left - count + 1)
        place = np.append(np.sort(rng.uniform(begun, ended, count - 1)), ended)
        begun = ended
        yield _chunk(plan, model, np.minimum(place, 1.0), wave_cluster, rng)


def _chunk(
    plan: _Plan, model: SimulatorModel, place: NDArray[np.float64], wave_cluster: int, rng: np.random.Generator
) -> Transactions:
    time = _times(plan, place)
    hour = (time % SECONDS_PER_DAY // _SECONDS_PER_HOUR).astype(np.int64)
    probability = plan.fraud_probability[hour]
    if plan.wave is None:
        label = (rng.random(len(time)) < probability).astype(np.int8)
        component = model.choose(label, hour, rng)
    else:
        since = (time - plan.start) / _SECONDS_PER_HOUR - plan.wave.start_hour
        inside = (since >= 0) & (since < plan.wave.hours)
        raised = np.where(inside, np.minimum(probability * plan.wave.factor, 1.0), probability)
        draw = rng.random(len(time))
        label = (draw < raised).astype(np.int8)
        component = model.choose(label, hour, rng)
        component[(draw >= probability) & (draw < raised)] = wave_cluster
    raw = np.empty((len(time), len(FIELDS)))
    raw[:, 0] = time
    raw[:, 1:] = model.draw(component, rng)
    raw[:, 1:] += plan.shift
    raw[:, -1] = np.round(np.maximum(raw[:, -1], 0.0) * plan.amount_factor, 2)
    return Transactions(raw=raw, label=label)


def _times(plan: _Plan, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times (whole seconds) at the places (0..1) of the arrivals' cumulative rate from start to end."""
    hours = np.arange(HOURS + 1.0) * _SECONDS_PER_HOUR
    daily = np.concatenate([[0.0], np.cumsum(plan.arrivals)]) / plan.arrivals.sum()

    def cumulative(seconds: float) -> float:
        day, rest = divmod(seconds, SECONDS_PER_DAY)
        return day + float(np.interp(rest, hours, daily))

    low, high = cumulative(plan.start), cumulative(plan.start + plan.days * SECONDS_PER_DAY)
    day, rest = np.divmod(low + (high - low) * place, 1.0)
    time = day * SECONDS_PER_DAY + np.interp(rest, daily, hours)
    seconds: NDArray[np.float64] = np.maximum(np.floor(time), math.ceil(plan.start))
    return seconds


def _shift(drift: Mapping[str, float], model: SimulatorModel) -> NDArray[np.float64]:
    shift = np.zeros(len(_DRIFTABLE))
    for name, deviations in drift.items():
        if name not in _DRIFTABLE:
            raise InvalidInput(f"The feature {name!r} cannot drift.", f"Name one of {', '.join(_DRIFTABLE)}.")
        if not math.isfinite(deviations):
            raise InvalidInput(f"The drift of {name} is {deviations}.", "Give a finite number of standard deviations.")
        column = _DRIFTABLE.index(name)
        shift[column] = deviations * model.standard_deviation[column]
    return shift


def _check(
    rows: int,
    seed: int,
    fraud_rate: float,
    days: float,
    start: float,
    amount_factor: float,
    wave: FraudWave | None,
    chunk_rows: int,
) -> None:
    least_or_range = (
        ("rows", rows, 1, math.inf),
        ("seed", seed, 0, math.inf),
        ("fraud_rate", fraud_rate, 0, 1),
        ("days", days, 1 / SECONDS_PER_DAY, math.inf),
        ("start", start, 0, math.inf),
        ("amount_factor", amount_factor, 0, math.inf),
        ("chunk_rows", chunk_rows, 1, math.inf),
        ("fraud_wave.start_hour", wave.start_hour if wave else 0, 0, math.inf),
        ("fraud_wave.hours", wave.hours if wave else 0, 0, math.inf),
        ("fraud_wave.factor", wave.factor if wave else 1, 1, math.inf),
    )
    for name, value, low, high in least_or_range:
        if not (low <= value <= high and math.isfinite(value)):
            upper = f" and at most {high}" if math.isfinite(high) else ""
            raise InvalidInput(f"{name} is {value}.", f"Give a finite number of at least {low:g}{upper}.")
