"""What a monitoring run found, for terminals, files and other programs."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from rich.table import Table

from ml_project.metrics import Estimate
from pipelines.monitoring.challenger import Beside
from pipelines.monitoring.figures import Watched
from pipelines.monitoring.labelled import LabelledFigures
from pipelines.monitoring.limits import Figure
from pipelines.monitoring.reading import Decided
from pipelines.monitoring.window import Window

_NAMED: Final = 3
"""Breaches that a sentence names."""

_SHOWN: Final = 8
"""Drifts that a terminal shows where nothing breaches."""


@dataclass(frozen=True)
class Other:
    """Another version that answered in the window: the champion before or after."""

    version: str
    rows: float
    alert_share: float
    labelled: LabelledFigures

    @classmethod
    def of(cls, version: str, rows: Decided, labelled: LabelledFigures) -> "Other":
        """Its figures without a baseline."""
        share = float(rows.weight[rows.alert].sum() / rows.rows)
        return cls(version, rows.rows, share, labelled)


@dataclass(frozen=True)
class Report:
    """A window, the version that was watched in it, and every figure.

    Attributes
    ----------
    hourly : bool
        Whether the bundle has a baseline by the hour.
    challengers : list of Beside
        Those that scored this version's transactions in the shadow, the one with most rows first.
    """

    model_name: str
    version: str
    window: Window
    made_at: datetime
    hourly: bool
    watched: Watched
    labelled: LabelledFigures
    others: list[Other]
    challengers: list[Beside] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """All of them, those of the first challenger included."""
        beside = self.challengers[0].figures if self.challengers else []
        return self.watched.figures + self.labelled.figures + beside

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The figures that have an interval."""
        return self.labelled.estimates | (self.challengers[0].estimates if self.challengers else {})

    @property
    def breaches(self) -> list[Figure]:
        """Those beyond their limits."""
        return [figure for figure in self.figures if figure.breached]

    @property
    def sentence(self) -> str:
        """What there is to say, in one line."""
        where = f"version {self.version}, {self.window.words}"
        if not self.breaches:
            judged = sum(figure.judged and figure.limit != "none" for figure in self.figures)
            return f"No breach: {where}; {judged} figures judged."
        words = [f"{each.metric} {each.value:.3g} (limit {each.limit})" for each in self.breaches[:_NAMED]]
        more = f" and {len(self.breaches) - _NAMED} more" if len(self.breaches) > _NAMED else ""
        return f"Breach: {where}: {', '.join(words)}{more}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model_name": self.model_name,
            "version": self.version,
            "window": {"since": self.window.since.isoformat(), "until": self.window.until.isoformat()},
            "made_at": self.made_at.isoformat(),
            "breached": bool(self.breaches),
            "sentence": self.sentence,
            "figures": [figure.to_dict() for figure in self.figures],
            "estimates": {name: asdict(each) for name, each in self.estimates.items()},
            "drifts": [asdict(drift) for drift in self.watched.drifts],
            "others": [asdict(other) for other in self.others],
            "challengers": [each.to_dict() for each in self.challengers],
        }

    def to_table(self) -> Table:
        """What breached, the strongest drifts and the rest, for a terminal."""
        table = Table("figure", "value", "limit", "", title_justify="left")
        drifts = [figure for figure in self.watched.figures if figure.of]
        drifts.sort(key=lambda figure: (figure.breached, figure.value / (figure.high or 1)), reverse=True)
        shown = max(_SHOWN, sum(figure.breached for figure in drifts))
        for figure in drifts[:shown] + [figure for figure in self.figures if not figure.of]:
            style = "bold red" if figure.breached else ""
            estimate = self.estimates.get(figure.name)
            value = f"{figure.value:.4g}" if estimate is None else str(estimate)
            table.add_row(figure.metric, value, figure.limit, figure.verdict, style=style)
        return table
