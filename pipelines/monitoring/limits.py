"""Limits as data, and what a figure is against its own."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_project.drift import Drift, DriftLimits, Shift, limit_of
from ml_project.errors import InvalidInput
from pipelines.settings import LIMITS_FILE


@dataclass(frozen=True)
class Figure:
    """A watched figure.

    Attributes
    ----------
    name, of : str
        What is measured, and of what: ``psi`` of ``V14``.
    low, high : float or None
        Limits; None where there is none.
    judged : bool
        Whether there are rows enough to hold it against its limits.
    breached : bool
        Judged, and beyond a limit.
    """

    name: str
    of: str
    value: float
    low: float | None = None
    high: float | None = None
    judged: bool = True
    breached: bool = False

    @property
    def metric(self) -> str:
        """Its name in MLflow and for Prometheus."""
        return f"{self.name}_{self.of}" if self.of else self.name

    @property
    def limit(self) -> str:
        """For people."""
        bounds = [f"≥ {self.low:.4g}"] if self.low is not None else []
        bounds += [f"≤ {self.high:.4g}"] if self.high is not None else []
        return " and ".join(bounds) or "none"

    @property
    def verdict(self) -> str:
        """For people."""
        if self.low is None and self.high is None:
            return "shown"
        return "breach" if self.breached else "ok" if self.judged else "too few rows"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def drift_figures(drift: Drift, limits: DriftLimits, comparable: bool = True) -> list[Figure]:
    """A drift's figures; ``comparable`` is false for a part of a day against a baseline without hours."""
    judged = comparable and drift.rows >= limits.minimum_rows

    def against(name: str, shift: Shift, least: float) -> Figure:
        high = limit_of(shift, least)
        return Figure(name, drift.name, shift.value, None, high, judged, judged and shift.value > high)

    found = [against("psi", drift.psi, limits.psi), against("ks", drift.ks, limits.ks)]
    found.append(against("missing", Shift(drift.missing, 0.0), limits.missing))
    if drift.out_of_range is not None:
        found.append(against("out_of_range", drift.out_of_range, limits.out_of_range))
    return found


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DecisionLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(ge=1)
    minimum_hours: float = Field(ge=0)
    factor: float = Field(gt=1)


class LabelledLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(ge=1)
    minimum_frauds: int = Field(ge=1)
    average_precision_drop: float = Field(ge=0)
    calibration_error: float = Field(ge=0)


class LatencyLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_rows: int = Field(ge=1)
    p99_ms: float = Field(gt=0)


class VolumeLimits(_Limits):
    """See ``monitor.yaml``."""

    minimum_hours: float = Field(ge=0)
    rows_per_day: float = Field(ge=0)


class MonitorLimits(_Limits):
    """What stands in ``monitor.yaml``."""

    drift: DriftLimits
    decisions: DecisionLimits
    labelled: LabelledLimits
    latency: LatencyLimits
    volume: VolumeLimits

    @classmethod
    def load(cls, path: Path = LIMITS_FILE) -> "MonitorLimits":
        """Limits from a file.

        Raises
        ------
        InvalidInput
            When it cannot be read, or is none of ours.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise InvalidInput(f"{path}: cannot be read ({error}).", "See pipelines/monitor.yaml for one.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{path}: {where}: {first['msg']}.", "See pipelines/monitor.yaml.") from error
