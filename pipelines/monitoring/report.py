"""What a monitoring run found, and every form of it besides the page.

A table for the terminal, JSON, a Prometheus text file, a CloudWatch line, and the notice of a breach.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.text import Text

from ml_project.metrics import Estimate
from ml_project.quantities import FEW, difference_interval, figure_text, interval_text
from pipelines.console import Table, error_console
from pipelines.monitoring.challenger import Comparison
from pipelines.monitoring.expected import ExpectedQuality
from pipelines.monitoring.figures import Figure, LabelledFigures, WatchedFigures
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.skew import Skew
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.emf import emf_content
from stores.files import write_atomically

_PARTS: Final = 48
_CLEARLY: Final = 0.9
"""Parts of a window, and what share of one's decisions a version gives where it is the one that answers."""

_NAMED: Final = 3
"""Breaches that a sentence names."""

_SHOWN: Final = 8
"""Features that the terminal shows besides those that breach."""

DRIFT_COLUMNS: Final = (
    ("PSI", ("psi",)),
    ("KS", ("ks",)),
    ("missing", ("missing",)),
    ("outside", ("out_of_range", "other")),
)
"""Columns of the drift matrix, and the figures in each: a number is outside its range, a category is an unknown one."""

_NOTICE_SECONDS: Final = 10.0


@dataclass(frozen=True)
class OtherVersion:
    """Another version that answered in the window: an earlier or later champion."""

    version: str
    rows: float
    alert_share: float
    labelled: LabelledFigures

    @classmethod
    def of(cls, version: str, rows: KeptDecisions, labelled: LabelledFigures) -> "OtherVersion":
        """Its figures without a baseline."""
        share = float(rows.weight[rows.alert].sum() / rows.rows)
        return cls(version, rows.rows, share, labelled)


@dataclass(frozen=True)
class Takeover:
    """A version that answers from a moment on, instead of another: after a promotion or a rollback."""

    moment: datetime
    version: str


def takeovers_in(window: Window, decided: Mapping[str, KeptDecisions]) -> list[Takeover]:
    """Every change of the version that answers, to within a 48th of the window (half an hour of a day).

    The decisions say it, not the history of moves: their event times may be of another time than the promotion's, and a
    gateway that was slow to follow answered with the old version until it did. Where versions answer side by side, as
    with simulated event times, none has taken over.
    """
    edges = np.linspace(window.since.timestamp(), window.until.timestamp(), _PARTS + 1)
    names = sorted(decided)
    if not names:
        return []
    counts = np.array([np.histogram(decided[name].moment, edges, weights=decided[name].weight)[0] for name in names])
    total = counts.sum(axis=0)
    clear = np.flatnonzero((total > 0) & (counts.max(axis=0) >= _CLEARLY * total))
    answering = counts.argmax(axis=0)[clear]
    changed = np.flatnonzero(np.diff(answering)) + 1
    return [
        Takeover(datetime.fromtimestamp(edges[clear[place]], UTC), names[answering[place]])
        for place in changed.tolist()
    ]


@dataclass(frozen=True)
class MonitorReport:
    """A window, the version watched in it, and every figure.

    Attributes
    ----------
    hourly : bool
        Whether the bundle has a baseline for each hour.
    expected : ExpectedQuality
        Of the decisions whose labels have not come.
    challengers : list of Comparison
        Challengers that scored this version's transactions in the shadow, the one with most rows first.
    skew : Skew or None
        Features from history, compared with their definition; None where there are none.
    takeovers : list of Takeover
        When another version began to answer, by event time.
    """

    model_name: str
    version: str
    window: Window
    made_at: datetime
    hourly: bool
    watched: WatchedFigures
    labelled: LabelledFigures
    others: list[OtherVersion]
    challengers: list[Comparison] = field(default_factory=list)
    skew: Skew | None = None
    expected: ExpectedQuality = field(default_factory=ExpectedQuality)
    currency: str = ""
    takeovers: list[Takeover] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        """All figures, including those of the first challenger."""
        beside = self.challengers[0].figures if self.challengers else []
        skewed = self.skew.figures if self.skew else []
        return self.watched.figures + self.labelled.figures + self.expected.figures + skewed + beside

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The figures that have an interval."""
        found = self.labelled.estimates | self.expected.named
        return found | (self.challengers[0].estimates if self.challengers else {})

    @property
    def own(self) -> dict[str, float | Estimate]:
        """What the version itself earned: all figures but those beside a challenger, with their intervals."""
        found = self.labelled.estimates | self.expected.named
        beside = {figure.metric for figure in self.challengers[0].figures} if self.challengers else set()
        return {each.metric: each.value for each in self.figures if each.metric not in beside} | found

    @property
    def title(self) -> str:
        """What the run is called: version, outcome and window."""
        count = len(self.breaches)
        outcome = f"{count} {'breach' if count == 1 else 'breaches'}" if count else "no breach"
        return f"v{self.version} {outcome} · {self.window.words}"

    @property
    def breaches(self) -> list[Figure]:
        """The figures beyond their limits."""
        return [figure for figure in self.figures if figure.breached]

    @property
    def sentence(self) -> str:
        """The result in one line."""
        where = f"version {self.version}, {self.window.words}"
        if not self.breaches:
            judged = sum(figure.judged and figure.limited for figure in self.figures)
            limited = sum(figure.limited for figure in self.figures)
            return f"No breach: {where}; {judged} of {limited} figures had enough rows to be judged."
        words = [f"{each.words} {each.text} (limit {each.limit})" for each in self.breaches[:_NAMED]]
        more = f" and {len(self.breaches) - _NAMED} more" if len(self.breaches) > _NAMED else ""
        return f"Breach: {where}: {', '.join(words)}{more}."

    def text(self, figure: Figure) -> str:
        """A figure as people read it, with its interval where it has one."""
        name, of = figure.name, self._of(figure.name)
        estimate = self.estimates.get(name)
        if name.startswith("gain_") and estimate is not None:
            return difference_interval(name, estimate, self.currency)
        if estimate is not None:
            return interval_text(name, estimate, self.currency, of)
        return figure_text(name, figure.value, self.currency, of)

    def _of(self, name: str) -> float | None:
        """Of how many a share is one, where they are few: then it is told as a count."""
        total = {
            "alert_share": self.rows,
            "decline_share": self.rows,
            "label_coverage": self.labelled.rows,
            "recall": float(self.labelled.frauds),
            "recall_at_budget": float(self.labelled.frauds),
        }.get(name)
        return total if total is not None and total < FEW else None

    @property
    def rows(self) -> float:
        """Decisions of the version in the window."""
        return next(figure.value for figure in self.watched.figures if figure.name == "rows")

    @property
    def drift_matrix(self) -> list[tuple[str, list[Figure | None]]]:
        """Each feature's figures in the order of ``DRIFT_COLUMNS``; breaches first, then what is nearest to a limit."""
        by_feature: dict[str, dict[str, Figure]] = {}
        for figure in self.watched.figures:
            if figure.of:
                by_feature.setdefault(figure.of, {})[figure.name] = figure
        rows = [
            (name, [next((found[each] for each in names if each in found), None) for _head, names in DRIFT_COLUMNS])
            for name, found in by_feature.items()
        ]
        return sorted(
            rows,
            key=lambda row: max((each.breached, each.nearness) for each in row[1] if each is not None),
            reverse=True,
        )

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
            "expected": asdict(self.expected),
            "drifts": [asdict(drift) for drift in self.watched.drifts],
            "others": [asdict(other) for other in self.others],
            "takeovers": [{"at": each.moment.isoformat(), "version": each.version} for each in self.takeovers],
            "challengers": [each.to_dict() for each in self.challengers],
            "skew": None if self.skew is None else self.skew.to_dict(),
        }

    def to_tables(self) -> list[Table]:
        """For the terminal: the breaches, the features nearest to their limits, and the window's other figures."""
        tables = []
        if self.breaches:
            breaches = Table(("breach", "value", "limit"), folding=("breach", "value", "limit"))
            for figure in self.breaches:
                breaches.add_row(figure.words, self.text(figure), figure.limit, style="bold red")
            tables.append(breaches)
        others = Table(("figure", "value", "limit", "verdict"), folding=("figure", "value", "limit"))
        for figure in self.figures:
            if not figure.of and not figure.breached:
                others.add_row(figure.words, self.text(figure), figure.limit, figure.verdict)
        return [*tables, self._drift_table(), others]

    def _drift_table(self) -> Table:
        heads = tuple(head for head, _names in DRIFT_COLUMNS)
        rows = self.drift_matrix
        shown = max(_SHOWN, sum(any(each and each.breached for each in found) for _name, found in rows))
        left = f"{len(rows) - shown} more features are further from their limits; monitor.html has all."
        table = Table(("feature", *heads), numbers=heads, caption=left if len(rows) > shown else "")
        for name, found in rows[:shown]:
            cells = [Text() if each is None else Text(each.text, "bold red" if each.breached else "") for each in found]
            table.add_row(name, *cells)
        return table


def prometheus_text(report: MonitorReport) -> str:
    """The figures in Prometheus' text format, for node exporter's textfile collector."""
    labels = f'model="{report.model_name}",version="{report.version}"'
    lines = [
        "# HELP fraud_monitor_figure A watched figure of the last window.",
        "# TYPE fraud_monitor_figure gauge",
        *(
            f'fraud_monitor_figure{{{labels},figure="{figure.name}",of="{_escaped(figure.of)}"}} {figure.value:.10g}'
            for figure in report.figures
            if math.isfinite(figure.value)
        ),
        "# HELP fraud_monitor_interval Ends of a figure's 95 % interval.",
        "# TYPE fraud_monitor_interval gauge",
        *(
            f'fraud_monitor_interval{{{labels},figure="{name}",end="{end}"}} {getattr(estimate, end):.10g}'
            for name, estimate in report.estimates.items()
            for end in ("low", "high")
        ),
        "# HELP fraud_monitor_breaches Figures beyond their limits.",
        "# TYPE fraud_monitor_breaches gauge",
        f"fraud_monitor_breaches{{{labels}}} {len(report.breaches)}",
        "# HELP fraud_monitor_window_end_seconds End of the last window, since 1970.",
        "# TYPE fraud_monitor_window_end_seconds gauge",
        f"fraud_monitor_window_end_seconds{{{labels}}} {report.window.until.timestamp():.0f}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """As a label's value, which a contract's names may be."""
    return text.replace("\\", r"\\").replace('"', r"\"")


def emf_line(report: MonitorReport, namespace: str) -> str:
    """One line of CloudWatch's embedded metric format: breaches, and the figures of the whole window."""
    overall = {figure.metric: figure.value for figure in report.figures if not figure.of}
    for name, estimate in report.labelled.estimates.items():
        overall |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    for name in ("psi", "ks"):
        overall[f"{name}_max"] = max(figure.value for figure in report.figures if figure.name == name)
    values = {"breaches": float(len(report.breaches)), **overall}
    return json.dumps(emf_content(namespace, {"Model": report.model_name}, values, when=report.made_at))


def write_textfile(report: MonitorReport, path: Path) -> None:
    """Replace the text file atomically; failing to write it is a warning, as the MLflow run holds the figures."""
    try:
        write_atomically(path, prometheus_text(report).encode())
    except OSError as error:
        _warn(f"the figures could not be written to {path}: {error}")


def notify(report: MonitorReport, settings: PipelineSettings, run_id: str) -> list[str]:
    """Send a breach to the topic and the webhook; returns those that accepted it. A failure is a warning."""
    notified = []
    content = {
        "text": report.sentence,
        "model": report.model_name,
        "version": report.version,
        "run_id": run_id,
        "window": {"since": report.window.since.isoformat(), "until": report.window.until.isoformat()},
        "breaches": [figure.to_dict() for figure in report.breaches],
    }
    if settings.notice_topic:
        try:
            _publish(settings.notice_topic, f"{report.model_name}: {len(report.breaches)} figures breached", content)
            notified.append("SNS")
        except Exception as error:  # boto3 raises too many unrelated types
            _warn(f"the topic {settings.notice_topic} was not notified: {type(error).__name__}: {error}")
    url = settings.notice_webhook.get_secret_value()
    if url:
        import httpx

        try:
            with httpx.stream("POST", url, json=content, timeout=_NOTICE_SECONDS) as answer:
                answer.raise_for_status()  # nobody asks for its body, which may have no end
            notified.append("webhook")
        except httpx.HTTPStatusError as error:
            _warn(f"the webhook was not notified: it answered {error.response.status_code}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _warn(f"the webhook was not notified: {type(error).__name__}")  # the message may hold its URL
    return notified


def _publish(topic: str, subject: str, content: dict[str, Any]) -> None:
    import boto3
    from botocore.config import Config

    region = topic.split(":")[3] if topic.count(":") >= 5 else None  # arn:aws:sns:REGION:account:name
    config = Config(connect_timeout=_NOTICE_SECONDS, read_timeout=_NOTICE_SECONDS, retries={"max_attempts": 2})
    client = boto3.client("sns", region_name=region, config=config)
    client.publish(TopicArn=topic, Subject=subject[:100], Message=json.dumps(content, indent=1))


def _warn(text: str) -> None:
    error_console.print(f"[bold yellow]warning:[/bold yellow] {text}", soft_wrap=True)
