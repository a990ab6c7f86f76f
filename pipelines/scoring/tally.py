"""What was counted while scoring: parts' counts add up to the job's."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ml_project.drift import DriftCounts


@dataclass(frozen=True)
class Tally:
    """Counts of rows that were read.

    Attributes
    ----------
    decisions, amounts : Counter
        Rows and sum of Amount by decision.
    quarantined : int
        Rows that could not be scored.
    reasons : Counter
        Why; a row may have several.
    """

    drift: DriftCounts
    decisions: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def scored(self) -> int:
        """Rows with a decision."""
        return sum(self.decisions.values())

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self.scored + self.quarantined

    def __add__(self, other: "Tally") -> "Tally":
        amounts = Counter(self.amounts)
        for decision, amount in other.amounts.items():  # `Counter +` would drop what is not positive
            amounts[decision] += amount
        return Tally(
            self.drift + other.drift,
            self.decisions + other.decisions,
            amounts,
            self.quarantined + other.quarantined,
            self.reasons + other.reasons,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "drift": self.drift.to_dict(),
            "decisions": dict(self.decisions),
            "amounts": dict(self.amounts),
            "quarantined": self.quarantined,
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Tally":
        """The inverse of `to_dict`."""
        return cls(
            DriftCounts.from_dict(values["drift"]),
            Counter(values["decisions"]),
            Counter(values["amounts"]),
            values["quarantined"],
            Counter(values["reasons"]),
        )
