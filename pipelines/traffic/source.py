"""The transactions to send, in the order in which they happened: simulated, or from a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_project.cleaning import clean, learnt_values
from ml_project.contract import Contract
from ml_project.contract_file import DEFAULT, contract_named
from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.operators import SECONDS_PER_DAY
from ml_project.simulator import FraudWave, Transactions, simulate
from pipelines.data.files import read_table

SIMULATED = "simulated"

Rows = tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64], Mapping[str, Sequence[Any]]]
"""Raw fields (n, fields), labels (n,), moments (n,) in seconds since 1970, and by entity its names, n of each."""


@dataclass(frozen=True)
class TrafficPlan:
    """The traffic to send.

    Attributes
    ----------
    data : str
        ``simulated``, or a file or folder as for ``ingest``.
    start : datetime
        Event time of the beginning.
    duration : timedelta
        Event time that the traffic spans.
    per_day : float
        Simulated transactions per day of event time.
    drift, amount_factor : mapping, float
        As for `ml_project.simulator.simulate`, from ``drift_after`` on.
    fraud_rate, fraud_wave : float, FraudWave or None
        As for `simulate`.
    contract : Contract
        What a file's columns are; the simulator has its own.
    """

    data: str
    start: datetime
    duration: timedelta
    per_day: float
    seed: int = 0
    drift: Mapping[str, float] = field(default_factory=dict)
    amount_factor: float = 1.0
    drift_after: timedelta = timedelta(0)
    fraud_rate: float = 0.00173
    fraud_wave: FraudWave | None = None
    contract: Contract = field(default_factory=contract_named)


@dataclass(frozen=True)
class TrafficTransaction:
    """One transaction to send: its name, event time, true label and JSON body."""

    transaction_id: str
    event_time: datetime
    fraud: bool
    body: dict[str, Any]


def transactions(plan: TrafficPlan) -> Iterator[TrafficTransaction]:
    """The transactions of a plan. Equal plans give equal ones, names included: sending them again adds nothing.

    Raises
    ------
    InvalidInput
        For a file that cannot be read, a contract that is not the simulator's, or an argument that it refuses.
    """
    if plan.data == SIMULATED and plan.contract.contract != DEFAULT:
        said = f"Simulated traffic is of the contract {DEFAULT}, not of {plan.contract.contract}."
        raise InvalidInput(said, "Give a file: --data PATH.")
    return _numbered(plan, plan.contract, _simulated(plan)) if plan.data == SIMULATED else _from_file(plan)


def total(plan: TrafficPlan) -> int | None:
    """How many transactions there will be; None for a file."""
    return None if plan.data != SIMULATED else sum(rows for rows, _begin, _end, _drifting in _parts(plan))


def _parts(plan: TrafficPlan) -> list[tuple[int, float, float, bool]]:
    """Rows, begin and end (days), and whether they drift: for the time before the drift, and for the rest."""
    days = plan.duration / timedelta(days=1)
    turn = min(max(plan.drift_after / timedelta(days=1), 0.0), days)
    spans = [(0.0, turn, False), (turn, days, True)]
    return [
        (round(plan.per_day * (end - begin)), begin, end, drifting) for begin, end, drifting in spans if end > begin
    ]


def _simulated(plan: TrafficPlan) -> Iterator[Rows]:
    midnight = plan.start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    offset = (plan.start - midnight).total_seconds()
    streams = []
    for place, (rows, begin, end, drifting) in enumerate(_parts(plan)):
        if not rows:
            continue
        # made here, not in the generator below, so that wrong arguments are refused at once
        streams.append(
            simulate(
                rows,
                seed=plan.seed + place,
                fraud_rate=plan.fraud_rate,
                days=end - begin,
                start=offset + begin * SECONDS_PER_DAY,
                drift=plan.drift if drifting else None,
                amount_factor=plan.amount_factor if drifting else 1.0,
                fraud_wave=_since(plan.fraud_wave, begin * 24),
            )
        )
    return (_dated(chunk, midnight) for chunk in chain.from_iterable(streams))


def _since(wave: FraudWave | None, hours: float) -> FraudWave | None:
    """The rest of a wave, with its hours counted from ``hours`` after the beginning."""
    if wave is None or wave.start_hour + wave.hours <= hours:
        return None
    begin = max(wave.start_hour - hours, 0.0)
    return FraudWave(begin, wave.start_hour + wave.hours - hours - begin, wave.factor)


def _dated(chunk: Transactions, midnight: datetime) -> Rows:
    return chunk.raw, chunk.label, chunk.raw[:, 0] + midnight.timestamp(), {}


def _from_file(plan: TrafficPlan) -> Iterator[TrafficTransaction]:
    contract = plan.contract
    frame = read_table(plan.data, contract).frame
    contract = contract.with_values(learnt_values(frame, contract))
    table, _report = clean(frame, contract, name=plan.data)
    data = Dataset.from_frame(table, contract)
    moments = data.moment if contract.event_time in frame else data.moment - data.moment[0] + plan.start.timestamp()
    end = (moments[0] if contract.event_time in frame else plan.start.timestamp()) + plan.duration.total_seconds()
    kept = moments < end
    raw, drifting = data.raw.copy(), moments >= moments[0] + plan.drift_after.total_seconds()
    amounts = contract.amount_place
    if amounts is not None:
        raw[drifting, amounts] *= plan.amount_factor
    for name, deviations in plan.drift.items():
        place = contract.raw_fields.index(name)
        raw[drifting, place] += deviations * data.raw[:, place].std()
    if amounts is not None:  # a drift makes no payment a refund
        raw[:, amounts] = np.where(data.raw[:, amounts] < 0, raw[:, amounts], raw[:, amounts].clip(min=0))
    # clean tables are in the order of time, as the arrays are
    entities = {name: table[name].to_numpy()[kept].tolist() for name in contract.entities if name in table}
    yield from _numbered(plan, contract, [(raw[kept], data.label[kept], moments[kept], entities)])


def _numbered(plan: TrafficPlan, contract: Contract, chunks: Iterable[Rows]) -> Iterator[TrafficTransaction]:
    kind = plan.data if plan.data == SIMULATED else Path(plan.data).name[:20]
    name = f"{kind}-{plan.start:%Y%m%dT%H%M%S}-{plan.seed}"
    number = 0
    for raw, labels, moments, entities in chunks:
        rows = zip(raw.tolist(), labels.tolist(), moments.tolist(), strict=True)
        for place, (values, label, moment) in enumerate(rows):
            named = {entity: names[place] for entity, names in entities.items()}
            when = datetime.fromtimestamp(moment, UTC)
            transaction_id = f"{name}-{number}"
            body = {
                **{name: value for name, value in contract.transaction(values).items() if name not in named},
                **{entity: name for entity, name in named.items() if isinstance(name, str)},
                contract.transaction_id: transaction_id,
                contract.event_time: when.isoformat(),
            }
            yield TrafficTransaction(transaction_id, when, bool(label), body)
            number += 1
