"""Where figures go besides MLflow: a Prometheus text file, a CloudWatch line, and a notice of a breach."""

import json
import math
from pathlib import Path
from typing import Any, Final

from pipelines.console import error_console
from pipelines.monitoring.report import Report
from pipelines.settings import PipelineSettings
from stores.files import write_atomically

_NOTICE_SECONDS: Final = 10.0
_EMF_METRICS: Final = 100
"""CloudWatch's limit for one line."""


def prometheus_text(report: Report) -> str:
    """The figures in Prometheus' text format, for node exporter's textfile collector."""
    labels = f'model="{report.model_name}",version="{report.version}"'
    lines = [
        "# HELP fraud_monitor_figure A watched figure of the last window.",
        "# TYPE fraud_monitor_figure gauge",
        *(
            f'fraud_monitor_figure{{{labels},figure="{figure.name}",of="{figure.of}"}} {figure.value:.10g}'
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


def emf_line(report: Report, namespace: str) -> str:
    """One line of CloudWatch's embedded metric format: the breaches and the figures about the whole window."""
    overall = {figure.metric: figure.value for figure in report.figures if not figure.of}
    for name, estimate in report.labelled.estimates.items():
        overall |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    for name in ("psi", "ks"):
        overall[f"{name}_max"] = max(figure.value for figure in report.figures if figure.name == name)
    values = {"breaches": float(len(report.breaches)), **overall}
    names = [{"Name": name} for name in list(values)[:_EMF_METRICS]]
    directive = {"Namespace": namespace, "Dimensions": [["Model"]], "Metrics": names}
    milliseconds = int(report.made_at.timestamp() * 1000)
    content: dict[str, Any] = {"_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]}}
    return json.dumps({**content, "Model": report.model_name, **values})


def write_textfile(report: Report, path: Path) -> None:
    """Replace the text file at once; one that cannot be written is a warning, for the run is what counts."""
    try:
        write_atomically(path, prometheus_text(report).encode())
    except OSError as error:
        _warn(f"the figures could not be written to {path}: {error}")


def notify(report: Report, settings: PipelineSettings, run_id: str) -> list[str]:
    """Tell the topic and the webhook of a breach; those that took it. One that fails is a warning."""
    told = []
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
            told.append("SNS")
        except Exception as error:  # boto3 raises too many unrelated types
            _warn(f"the topic {settings.notice_topic} was not told: {type(error).__name__}: {error}")
    url = settings.notice_webhook.get_secret_value()
    if url:
        import httpx

        try:
            httpx.post(url, json=content, timeout=_NOTICE_SECONDS).raise_for_status()
            told.append("webhook")
        except httpx.HTTPStatusError as error:
            _warn(f"the webhook was not told: it answered {error.response.status_code}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _warn(f"the webhook was not told: {type(error).__name__}")  # the message may hold its URL
    return told


def _publish(topic: str, subject: str, content: dict[str, Any]) -> None:
    import boto3
    from botocore.config import Config

    region = topic.split(":")[3] if topic.count(":") >= 5 else None  # arn:aws:sns:REGION:account:name
    config = Config(connect_timeout=_NOTICE_SECONDS, read_timeout=_NOTICE_SECONDS, retries={"max_attempts": 2})
    client = boto3.client("sns", region_name=region, config=config)
    client.publish(TopicArn=topic, Subject=subject[:100], Message=json.dumps(content, indent=1))


def _warn(text: str) -> None:
    error_console.print(f"[bold yellow]warning:[/bold yellow] {text}", soft_wrap=True)
