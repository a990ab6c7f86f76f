"""Lets only versions go live that a gate of ours let pass, or that one of us forced past it.

A module without MLflow: a gateway that goes live by the release pointer asks it too.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from ml_project.card import Card
from ml_project.errors import InvalidBundle
from ml_project.scorer import Scorer
from stores.gate_result import cleared, verdict
from stores.live import LiveVersion
from stores.promotions import Promotions


class _Source(Protocol):
    def current(self) -> LiveVersion | None: ...

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer: ...

    def card(self, live: LiveVersion) -> Card | None: ...

    def promotions(self) -> Promotions: ...


class Gated:
    """A source of live versions that loads no other.

    Parameters
    ----------
    source
        Where they come from.
    gate_of : callable
        A version's gate result; see `stores.gate_result.gate_result`.
    """

    def __init__(self, source: _Source, gate_of: Callable[[LiveVersion], Mapping[str, object]]) -> None:
        self._source = source
        self._gate_of = gate_of

    def current(self) -> LiveVersion | None:
        """The version that ought to answer, whatever the gate said."""
        return self._source.current()

    def load(self, live: LiveVersion, threads: int = 0) -> Scorer:
        """A checked scorer of a version that may go live.

        Raises
        ------
        InvalidBundle
            When no gate let it pass and nobody forced it.
        """
        gate = self._gate_of(live)
        if not cleared(gate):
            reason = "no gate of ours ran on it" if verdict(gate) == "none" else "the gate refused it"
            raise InvalidBundle(
                f"FRAUD_REQUIRE_GATE is on, and {reason}.", "Roll back, then promote it with `python -m pipelines`."
            )
        return self._source.load(live, threads)

    def card(self, live: LiveVersion) -> Card | None:
        """A version's model card."""
        return self._source.card(live)

    def promotions(self) -> Promotions:
        """Moves of Production."""
        return self._source.promotions()


def released_gate(live: LiveVersion) -> Mapping[str, object]:
    """The gate result that stands in the release pointer."""
    return live.release.gate if live.release else {}
