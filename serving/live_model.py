"""The model that answers now: one immutable reference, exchanged in one step.

A request reads the reference once and keeps what it got, so that a swap never mixes two versions inside an answer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from ml_project.card import Card
from ml_project.reasons import Explainer
from ml_project.scorer import BATCH_ROWS, Scorer

if TYPE_CHECKING:
    from stores.production import LiveVersion

_WARM_UP_SINGLES = 20
_WARM_UP_BATCHES = 3


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A scorer, what explains its scores, the version that both belong to and, once it was found, its model card."""

    scorer: Scorer
    explainer: Explainer
    live: "LiveVersion"
    loaded_at: datetime
    card: Card | None = None

    @property
    def version(self) -> str:
        """The registry's version number, as clients see it."""
        return str(self.live.version)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the gateway could not follow the registry, and since when."""

    message: str
    since: datetime


class ModelSlot:
    """Holds the live model. The watcher alone writes, any number of requests read: assignments are atomic."""

    def __init__(self) -> None:
        self.current: LiveModel | None = None
        self.trouble: Trouble | None = None
        self.swaps = {"live": 0, "refused": 0, "failed": 0}
        """How attempts to go live ended: refused is a bundle that failed its checks, failed anything else."""


def warm_up(scorer: Scorer) -> None:
    """Let ONNX Runtime allocate and start its threads before the first client waits for them."""
    rows = np.array([row.raw for row in scorer.bundle.manifest.golden_rows], dtype=np.float64)
    for _ in range(_WARM_UP_SINGLES):
        scorer.score(rows[:1])
    batch = np.resize(rows, (16 * BATCH_ROWS, rows.shape[1]))
    for _ in range(_WARM_UP_BATCHES):
        scorer.score(batch)
