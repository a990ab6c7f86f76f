"""From which drift on a figure counts: the same for monitor, alarms and page.

The values stand in ``pipelines/monitor.yaml``; a version's card bears those it was promoted with, for the gateway.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ml_project.drift import Shift

_DRIFT_FIGURES: Final = 3
"""PSI, KS and the share out of range have noise; what is missing has none."""

_DECISION_FIGURES: Final = 4
"""Alerts and declines, each too many or too few."""


class DriftLimits(BaseModel):
    """The least that counts of each figure; a small window's own noise may need more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_rows: int = Field(ge=1)
    false_alarms: float = Field(gt=0, lt=1)
    psi: float = Field(ge=0)
    ks: float = Field(ge=0)
    missing: float = Field(ge=0)
    out_of_range: float = Field(ge=0)

    def significance(self, watched: int) -> float:
        """What each single figure may contribute to the false alarms of a window (Bonferroni)."""
        return self.false_alarms / (_DRIFT_FIGURES * watched + _DECISION_FIGURES)


def limit_of(shift: Shift, least: float) -> float:
    """The value that a figure must exceed: an effect worth acting on, and more than chance."""
    return max(least, shift.noise)
