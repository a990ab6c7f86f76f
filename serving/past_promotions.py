"""How the live version came to answer: asked of the registry now and then, however often somebody wants to know it."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ml_project.errors import Unavailable
from serving.model_source import ModelSource
from serving.watcher import Watcher

if TYPE_CHECKING:
    from stores.released import Promotions

SECONDS: Final = 5.0
"""How long an answer is given again: half of what an MLflow server that is away costs."""


class PastPromotions:
    """Moves of Production.

    Parameters
    ----------
    watcher : Watcher
        Has the registry, once it could be connected to.
    at_once : callable or None
        Makes the source that stands in for it until then.
    """

    def __init__(self, watcher: Watcher, at_once: Callable[[], ModelSource] | None) -> None:
        self._watcher = watcher
        self._at_once = at_once
        self._lock = threading.Lock()
        self._known: Promotions | None = None
        self._until = 0.0

    def read(self) -> "Promotions":
        """What is known; blocks, and belongs on a worker thread.

        Raises
        ------
        FraudError
            When neither registry nor release pointer can be read.
        """
        with self._lock:
            if self._known is None or time.monotonic() > self._until:
                self._known = None
                self._known = self._source().promotions()
                self._until = time.monotonic() + SECONDS
            return self._known

    def _source(self) -> ModelSource:
        source = self._watcher.source or (self._at_once() if self._at_once else None)
        if source is None:
            raise Unavailable("The registry could not be reached yet.", "Try again in some seconds.")
        return source
