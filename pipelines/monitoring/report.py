"""What a monitoring run found, and every form of it besides the page.

A table for the terminal, JSON, a Prometheus text file, a CloudWatch line, and the notice of a breach.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from ml_project.metrics import Estimate
from pipelines.console import error_console
from pipelines.monitoring.challenger import Comparison
from pipelines.monitoring.expected import ExpectedQuality
from pipelines.monitoring.figures import Figure, LabelledFigures, WatchedFigures
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.skew import Skew
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from stores.emf import emf_content
from stores.files import write_atomically

_NAMED: Final = 3
"""Breaches that a sentence names."""

_SHOWN: Final = 8
"""Drifts that the terminal shows where nothing breaches."""

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
    def breaches(self) -> list[Figure]:
        """The figures beyond their limits."""
        return [figure for figure in self.figures if figure.breached]

    @property
    def sentence(self) -> str:
        """The result in one line."""
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
            "expected": asdict(self.expected),
            "drifts": [asdict(drift) for drift in self.watched.drifts],
            "others": [asdict(other) for other in self.others],
            "challengers": [each.to_dict() for each in self.challengers],
            "skew": None if self.skew is None else self.skew.to_dict(),
        }

    def to_table(self) -> Table:
        """Breaches, the strongest drifts and the other figures, for the terminal."""
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
