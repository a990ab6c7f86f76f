"""What a fault loop did to the servers and what came of it, as a line of a table."""

from dataclasses import dataclass

import pytest

from tests.faults.clients import Clients

_COLUMNS = (
    *("faults", "requests", "predictions", "wrong", "refused", "unanswered", "lost"),
    *("p99_ms", "megabytes", "seconds"),
)


@dataclass
class Figures:
    """One test's.

    Attributes
    ----------
    faults : int
        Swaps, kills or outages.
    refused, unanswered : int
        Answers other than 200, and broken connections: of requests, none of which was acknowledged.
    lost : int
        Acknowledged predictions that the database does not hold.
    p99_ms : float
        Of the answers' latency, where it was measured.
    megabytes : float
        Most memory of the gateway, where it was measured.
    """

    name: str
    faults: int = 0
    requests: int = 0
    predictions: int = 0
    wrong: int = 0
    refused: int = 0
    unanswered: int = 0
    lost: int = 0
    p99_ms: float = 0.0
    megabytes: float = 0.0
    seconds: float = 0.0

    def take(self, clients: Clients, faults: int, lost: int = 0) -> None:
        """Add what clients saw."""
        self.faults, self.lost = self.faults + faults, self.lost + lost
        self.requests += clients.requests
        self.predictions += len(clients.acknowledged)
        self.wrong += len(clients.wrong)
        self.refused += clients.refused.total()
        self.unanswered += len(clients.unanswered)


FIGURES: pytest.StashKey[list[Figures]] = pytest.StashKey()


def table(done: list[Figures]) -> str:
    """The figures of all tests."""
    width = max(len(one.name) for one in done)
    lines = [" ".join([" " * width, *(f"{column:>11}" for column in _COLUMNS)])]
    for one in done:
        values = (getattr(one, column) for column in _COLUMNS)
        lines.append(" ".join([one.name.ljust(width), *(f"{value:>11,.0f}" for value in values)]))
    return "\n".join(lines)
