"""Has a challenger score live traffic without answering it, in the time that requests leave of a core.

The request hands its answer over without waiting: a thread looks into a bounded queue once a second, so that no request
spends time on waking it, and works in small groups with rests between them. Not by the system's thread priority: on a
busy machine a thread that is suspended while it holds the interpreter stops all others (a p99 of 1.8 s was seen). Rows
that find no room are dropped, and rows that cannot be scored or kept are lost; both are counted.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.errors import FraudError, Unavailable
from ml_project.policies import DECISIONS, decide_all
from serving.live_model import LiveModel
from serving.model_follower import ModelFollower
from serving.predictions import Predictions
from serving.transactions import Transactions

if TYPE_CHECKING:
    from stores.decisions import ShadowDecision

CAPACITY: Final = 20_000
"""Rows that may wait: 5 MB."""

GROUP: Final = 128
"""Rows that are scored and kept at once."""

_ROUND_SECONDS, _REST_SECONDS, _JOIN_SECONDS = 1.0, 0.005, 5.0

Keep = Callable[[Sequence["ShadowDecision"]], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Answered rows that wait for one challenger."""

    challenger: LiveModel
    contract: Contract
    transactions: Transactions
    prediction_ids: list[str]
    received_at: list[datetime]


class Shadow:
    """Scores a share of what was answered by the challenger, and keeps it apart.

    Parameters
    ----------
    share : float
        Part of the rows, 0 to 1.
    follower : ModelFollower
        Follows Challenger; started and stopped with this.
    capacity : int
        Rows that may wait.

    Attributes
    ----------
    slot : ModelSlot
        Holds the challenger, and why there is none.
    rows : dict of str to int
        What became of the rows drawn: scored (and kept), dropped for want of room, failed.
    """

    def __init__(self, share: float, follower: ModelFollower, capacity: int = CAPACITY) -> None:
        self.share = share
        self.slot = follower.slot
        self._follower = follower
        self.rows = {"scored": 0, "dropped": 0, "failed": 0}
        self._capacity = capacity
        self._random = random.Random()  # noqa: S311
        self._queue: deque[_Rows] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._keep: Keep = _nowhere
        self._trouble = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow-scorer", daemon=True)

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return self._waiting

    def start(self, keep: Keep) -> None:
        """Begin to watch and to score; what was scored goes to ``keep``."""
        self._keep = keep
        self._follower.start()
        self._thread.start()

    def close(self) -> None:
        """Score what waits, unless that takes long, and end."""
        self._closing.set()
        self._thread.join(_JOIN_SECONDS)
        self._follower.stop()

    def offer(
        self, predictions: Predictions, received_at: Sequence[datetime], excluding: AbstractSet[int] = frozenset()
    ) -> None:
        """Take a share of what was decided, leaving out some rows; never waits and never fails."""
        challenger = self.slot.current
        if challenger is None or predictions.model.live.digest == challenger.live.digest:
            return
        try:
            draw = self._random.random
            rows = [row for row in range(len(predictions)) if draw() < self.share and row not in excluding]
            if rows:
                self._take(challenger, predictions, rows, [received_at[row] for row in rows])
        except Exception:  # whatever it is, the answer goes out
            _log.exception("a prediction could not be offered to the challenger")

    def _take(self, challenger: LiveModel, predictions: Predictions, rows: list[int], moments: list[datetime]) -> None:
        with self._lock:
            taken = rows[: max(0, self._capacity - self._waiting)]
            self._waiting += len(taken)
            self.rows["dropped"] += len(rows) - len(taken)
        for start in range(0, len(taken), GROUP):
            part = taken[start : start + GROUP]
            ids = [predictions.prediction_ids[row] for row in part]
            offered = predictions.transactions.take(part)
            self._queue.append(
                _Rows(challenger, predictions.model.contract, offered, ids, moments[start : start + len(part)])
            )

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(_ROUND_SECONDS)
            while self._queue:
                self._work(self._group())
                time.sleep(_REST_SECONDS)

    def _group(self) -> list[_Rows]:
        """The next rows of one challenger, about `GROUP` of them."""
        group, rows = [self._queue.popleft()], 0
        while self._queue and (rows := rows + len(group[-1].prediction_ids)) < GROUP:
            if self._queue[0].challenger is not group[0].challenger:
                break
            group.append(self._queue.popleft())
        return group

    def _work(self, group: list[_Rows]) -> None:
        rows = sum(len(waiting.prediction_ids) for waiting in group)
        outcome = "failed"
        try:
            self._keep(_decisions(group))
            outcome, self._trouble = "scored", ""
        except FraudError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("shadow decisions are lost: %s", error)
        except Exception:
            _log.exception("shadow decisions are lost")
        with self._lock:
            self._waiting -= rows
            self.rows[outcome] += rows


def _decisions(group: list[_Rows]) -> "list[ShadowDecision]":
    from stores.decisions import ShadowDecision

    challenger = group[0].challenger
    scores = challenger.scorer.score(np.concatenate([_as_its_own(waiting) for waiting in group]))
    if not np.isfinite(scores.hybrid.sum() + scores.probability.sum()):
        raise Unavailable(f"Version {challenger.version} gave a score that is not a number.")
    named: list[tuple[str, datetime]] = [
        named for waiting in group for named in zip(waiting.prediction_ids, waiting.received_at, strict=True)
    ]
    rows = np.stack([scores.isolation, scores.boosted, scores.hybrid, scores.probability], axis=1).tolist()
    names = [str(decision) for decision in DECISIONS]
    decisions = [names[place] for place in decide_all(scores.hybrid, challenger.scorer.thresholds).tolist()]
    return [
        ShadowDecision(
            prediction_id,
            received_at,
            challenger.version,
            challenger.live.digest,
            isolation,
            boosted,
            hybrid,
            probability,
            decision,
        )
        for (prediction_id, received_at), (isolation, boosted, hybrid, probability), decision in zip(
            named, rows, decisions, strict=True
        )
    ]


def _as_its_own(waiting: _Rows) -> NDArray[np.float64]:
    """Raw transactions as the challenger's contract has them, which may have more fields and categories."""
    mine, theirs, rows = waiting.challenger.contract, waiting.contract, waiting.transactions
    return mine.translated(rows.raw, theirs, {} if mine == theirs else rows.texts(theirs))


def _nowhere(_decisions: "Sequence[ShadowDecision]") -> None:
    raise Unavailable("The gateway has not started.")
