"""History of a table to score: what is known of an entity comes from all rows, so it is there before parts are scored.

A first pass reads the usable rows of all parts as events and keeps each part's columns of history in the staging
folder. Every engine reads them there, so that a part is scored alone as before.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ml_project.columns import distinct_texts, label_column
from ml_project.contract import Contract
from ml_project.dataset import events_of
from ml_project.history import MICROSECONDS, Events, compute_history
from pipelines.scoring.parts import history_name, read_part
from pipelines.scoring.plan import ScoringPart, ScoringPlan
from pipelines.scoring.rows import ReadRows, read_rows
from stores.objects import Objects

Texts = tuple[list[str], NDArray[np.int64]]
"""Different texts, and each row's place among them; -1 where it has none."""


def keep_history(
    plan: ScoringPlan, todo: Sequence[ScoringPart], contract: Contract, source: Objects, staging: Objects, threads: int
) -> int:
    """Compute the history of every row, and keep it in the staging folder for the parts that are to be scored.

    Of two rows at one moment the first came first: files by their names, rows as they are in them. A row that goes to
    the quarantine is no event. Where an earlier execution left all that is needed, nothing is read.

    Returns
    -------
    int
        How many rows were read as events; 0 where nothing was to be done.
    """
    held = set(staging.names()) if contract.history else set()
    if not contract.history or all(history_name(part) in held for part in todo):
        return 0
    events, usable = _read_events(plan, contract, source, threads)
    found = compute_history(contract, events)
    begun, wanted = 0, {part.number for part in todo}
    for part, rows in zip(plan.parts, usable, strict=True):
        ended = begun + int(rows.sum())
        if part.number in wanted:
            values = np.full((part.rows, found.shape[1]), np.nan)
            values[rows] = found[begun:ended]
            with staging.creating(history_name(part)) as path, path.open("wb") as file:
                np.save(file, values)
        begun = ended
    return len(events)


def _read_events(
    plan: ScoringPlan, contract: Contract, source: Objects, threads: int
) -> tuple[Events, list[NDArray[np.bool_]]]:
    """The events of all parts in their order, and which rows of each part they are."""
    codes: dict[str, dict[str, int]] = {}
    frames, usable = [], []
    with ThreadPoolExecutor(threads, "history") as pool:
        try:
            for each in pool.map(lambda part: _read_part_events(plan, part, contract, source), plan.parts):
                columns = dict(each.columns)
                for name, (texts, places) in each.texts.items():
                    # Only which are equal counts: a number for each text, the same in every part.
                    known = codes.setdefault(name, {})
                    numbers = [known.setdefault(text, len(known)) if text else np.nan for text in texts]
                    columns[name] = np.array([*numbers, np.nan])[places]
                frames.append(pd.DataFrame(columns))
                usable.append(each.usable)
        finally:
            pool.shutdown(cancel_futures=True)
    frame = pd.concat(frames, ignore_index=True)
    frames.clear()
    return events_of(frame, contract), usable


@dataclass(frozen=True)
class _PartEvents:
    """Columns of a part's usable rows (m,), and which of its rows (n,) they are."""

    usable: NDArray[np.bool_]
    columns: Mapping[str, Any]
    texts: Mapping[str, Texts]


def _read_part_events(plan: ScoringPlan, part: ScoringPart, contract: Contract, source: Objects) -> _PartEvents:
    usable = np.zeros(part.rows, dtype=np.bool_)
    kept, raws, moments = list[pa.RecordBatch](), list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    label = contract.label_field
    named = [name for name in (*_named(contract), label) if name in plan.file_of(part).columns]
    for rows in read_part(plan, part, source):
        read = read_rows(contract, rows.batch)
        good = ~read.bad.any(axis=1)
        usable[rows.places[good] - part.first_row] = True
        kept.append(rows.batch.select(named).filter(pa.array(good)))
        raws.append(read.raw[good])
        moments.append(_moments(read, contract)[good])
    beside = pa.Table.from_batches(kept)
    raw = np.concatenate(raws)
    columns: dict[str, Any] = {
        name: raw[:, place] for place, name in enumerate(contract.given_names) if name in _reckoned(contract)
    }
    # A double of seconds is nearer to its microsecond than to any other until the year 2106.
    microseconds = np.rint(np.concatenate(moments) * MICROSECONDS).astype(np.int64)
    columns[contract.event_time] = pd.to_datetime(microseconds, unit="us", utc=True)
    nameless: Texts = [], np.full(len(raw), -1)
    texts = {name: distinct_texts(beside[name]) if name in named else nameless for name in _named(contract)}
    if label in named:
        known = contract.label
        found = label_column(known.positive, known.negative, known.unknown, beside[label])
        columns[label] = (found == 1).astype(np.int8)
    return _PartEvents(usable, columns, texts)


def _moments(read: ReadRows, contract: Contract) -> NDArray[np.float64]:
    """Event times (n,) in seconds since 1970."""
    name = contract.event_time
    return read.beside[name] if name in read.beside else read.raw[:, contract.raw_fields.index(name)]


def _reckoned(contract: Contract) -> set[str]:
    """Raw fields that history adds up, or whose values it counts."""
    return {name for feature in contract.history for name in feature.of if name in contract.given_names}


def _named(contract: Contract) -> list[str]:
    """Fields of texts that history asks for: entities, and others whose values it counts."""
    asked = [name for each in contract.history for name in (each.by, *each.of) if name is not None]
    return [name for name in dict.fromkeys(asked) if name not in contract.given_names]
