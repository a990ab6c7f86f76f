"""What the gate found: one row per check, for JSON, a terminal and a page."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rich.table import Table

from pipelines.gate.evidence import Evidence


class Theme(StrEnum):
    """What a check is about."""

    CHAMPION = "against the champion"
    QUALITY = "quality on its own"
    SLICES = "slices"
    INTEGRITY = "integrity"


@dataclass(frozen=True)
class Check:
    """One row of the report.

    Attributes
    ----------
    meaning : str
        What it means, for a reader who has not written the gate.
    judged : bool
        False where there was nothing to judge by; such a row is shown and does not count.
    figures : dict of str to float
        The numbers behind the words.
    forceable : bool
        Whether a person with a reason may promote although it failed; nobody has a reason for the others.
    """

    name: str
    value: str
    limit: str
    passed: bool
    meaning: str = ""
    theme: Theme = Theme.INTEGRITY
    judged: bool = True
    figures: dict[str, float] = field(default_factory=dict)
    forceable: bool = True

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.judged:
            return "not judged"
        return "passed" if self.passed else "failed"


_COLOURS = {"passed": "green", "failed": "red", "not judged": "dim"}


@dataclass(frozen=True)
class GateReport:
    """All rows; the gate is passed when every one is.

    Attributes
    ----------
    evidence : Evidence or None
        What was judged, for the page and the model card.
    """

    checks: tuple[Check, ...]
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether nothing stands against promotion."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """What stands against it, in words."""
        return _in_words(check for check in self.checks if not check.passed)

    @property
    def unforceable(self) -> str:
        """What of it no force gets past, in words."""
        return _in_words(check for check in self.checks if not check.passed and not check.forceable)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table("check", "value", "limit", "")
        theme = None
        for check in self.checks:
            if theme not in (None, check.theme):
                table.add_section()
            theme = check.theme
            colour = _COLOURS[check.verdict]
            table.add_row(check.name, check.value, check.limit, f"[{colour}]{check.verdict}")
        return table


def _in_words(checks: Iterable[Check]) -> str:
    return "; ".join(f"{check.name}: {check.value} (limit {check.limit})" for check in checks)
