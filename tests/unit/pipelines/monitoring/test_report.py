"""Figures and notices reach their receivers, and a receiver that fails does not fail the run."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import numpy as np
import pytest

from pipelines.console import console
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import (
    MonitorReport,
    emf_line,
    notify,
    prometheus_text,
    takeovers_in,
    write_textfile,
)
from pipelines.settings import PipelineSettings
from tests.support.servers import moto_server
from tests.unit.pipelines.monitoring.conftest import DAY, WINDOW


@contextmanager
def listening(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every POST with a status, and the bodies that it got."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def breached(decide: Callable[..., KeptDecisions], report: Callable[[KeptDecisions], MonitorReport]) -> MonitorReport:
    return report(decide(seed=5, drift={"V14": 0.5}))


def test_prometheus_text(breached: MonitorReport, tmp_path) -> None:
    text = prometheus_text(breached)
    sample = re.compile(r'[a-z_]+\{model="fraud-ensemble",version="3"(,[a-z]+="[\w.]*")*\} -?[\d.e+-]+')
    assert all(line.startswith("#") or sample.fullmatch(line) for line in text.splitlines())
    assert f'fraud_monitor_breaches{{model="fraud-ensemble",version="3"}} {len(breached.breaches)}' in text
    recall = breached.labelled.estimates["recall_at_budget"]
    ends = [
        f'version="3",figure="recall_at_budget",end="{end}"}} {getattr(recall, end):.10g}' for end in ("low", "high")
    ]
    assert all(end in text for end in ends)
    write_textfile(breached, tmp_path / "sub" / "fraud.prom")
    assert (tmp_path / "sub" / "fraud.prom").read_text() == text
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["fraud.prom"]


def test_a_textfile_that_cannot_be_written_is_a_warning(breached: MonitorReport, tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    write_textfile(breached, tmp_path / "file" / "fraud.prom")
    assert "could not be written" in capsys.readouterr().err


def test_an_emf_line(breached: MonitorReport) -> None:
    line = json.loads(emf_line(breached, "Fraud"))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Fraud"
    assert len(directive["Metrics"]) <= 100
    assert all(isinstance(line[metric["Name"]], float) for metric in directive["Metrics"])
    assert line["breaches"] == len(breached.breaches)
    assert line["psi_max"] > 0.1
    watched = {metric["Name"] for metric in directive["Metrics"]}
    assert {"rows_per_day", "latency_p99_ms", "calibration_error", "calibration_error_low", "mature_rows"} <= watched
    assert line["calibration_error_low"] < line["calibration_error"] < line["calibration_error_high"]


def test_the_webhook_hears_of_it(breached: MonitorReport, settings: PipelineSettings) -> None:
    with listening(200) as (url, received):
        notified = notify(breached, PipelineSettings(notice_webhook=url), "run-1")  # type: ignore[call-arg, arg-type]
    assert notified == ["webhook"]
    content = json.loads(received[0])
    assert content["text"] == breached.sentence
    assert content["run_id"] == "run-1"
    assert "psi" in {figure["name"] for figure in content["breaches"]}


def test_a_notice_that_fails_is_a_warning_without_its_secret(breached: MonitorReport, capsys) -> None:
    with listening(500) as (url, _received):
        assert notify(breached, PipelineSettings(notice_webhook=url), "run") == []  # type: ignore[call-arg, arg-type]
    assert notify(breached, PipelineSettings(notice_webhook=url), "run") == []  # type: ignore[call-arg, arg-type]
    said = capsys.readouterr().err
    assert "answered 500" in said
    assert "ConnectError" in said
    assert "secret" not in said


@pytest.mark.parametrize(("head", "notified"), [(b"200 OK", ["webhook"]), (b"302 Found\r\nLocation: /other", [])])
def test_an_answer_without_end_is_not_read_and_nobody_is_led_elsewhere(breached, head, notified) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = []

        def answer() -> None:
            line, _ = listener.accept()
            asked.append(line.recv(65_536))
            line.sendall(b"HTTP/1.1 " + head + b"\r\nContent-Length: 1000000000\r\n\r\n{")
            while line.recv(65_536):
                pass
            line.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        assert notify(breached, PipelineSettings(notice_webhook=url), "run") == notified  # type: ignore[call-arg]
        thread.join()
        assert len(asked) == 1


def test_sns_hears_of_it_or_a_warning_says_why(breached: MonitorReport, monkeypatch, capsys) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    topic = PipelineSettings(notice_topic="arn:aws:sns:eu-central-1:123456789012:fraud")  # type: ignore[call-arg]
    with listening(400) as (url, received):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url.split("/hook")[0])
        assert notify(breached, topic, "run") == []
    assert b"Action=Publish" in received[0]
    assert b"fraud-ensemble" in received[0]
    assert "was not notified" in capsys.readouterr().err


@pytest.mark.slow
def test_a_subscriber_of_the_topic_gets_the_notice(breached: MonitorReport, monkeypatch) -> None:
    """moto's server in a separate process, with a queue behind the topic."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with moto_server(free_requests=1_000) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        sns, sqs = (boto3.client(name, region_name="eu-central-1") for name in ("sns", "sqs"))
        topic = sns.create_topic(Name="fraud")["TopicArn"]
        queue = sqs.create_queue(QueueName="on-call")["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-central-1:123456789012:on-call")
        assert notify(breached, PipelineSettings(notice_topic=topic), "run-1") == ["SNS"]  # type: ignore[call-arg]
        (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    envelope = json.loads(message["Body"])
    assert envelope["Subject"] == f"fraud-ensemble: {len(breached.breaches)} figures breached"
    content = json.loads(envelope["Message"])
    assert (content["text"], content["run_id"]) == (breached.sentence, "run-1")


def test_the_page_is_whole_by_itself(breached: MonitorReport, decide: Callable[..., KeptDecisions]) -> None:
    html = monitor_page(breached, decide(seed=5, drift={"V14": 0.5}), "run-1")
    assert html.count("<svg") == 8
    assert "✗ breach" in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "prefers-color-scheme: dark" in html
    assert "PSI of V14" in html
    assert "run-1" in html
    assert monitor_page(breached, None, "run-1").count("<svg") == 5


def test_versions_that_took_over_are_marked_on_the_charts(
    decide: Callable[..., KeptDecisions], report: Callable[[KeptDecisions], MonitorReport]
) -> None:
    """A promotion at noon and its rollback at six: by the decisions, as the page marks them over time."""
    rows = decide()
    hour = (rows.moment - DAY.timestamp()) / 3600
    noon = (hour >= 12) & (hour < 18)
    decided = {"3": rows.take(~noon), "4": rows.take(noon)}
    takeovers = takeovers_in(WINDOW, decided)
    assert [each.version for each in takeovers] == ["4", "3"]
    late = [(each.moment - DAY).total_seconds() / 3600 - hour for each, hour in zip(takeovers, (12, 18), strict=True)]
    assert max(late) < 0.2
    assert takeovers_in(WINDOW, {}) == takeovers_in(WINDOW, {"3": rows}) == []
    half = np.arange(len(rows)) % 2 == 0
    assert takeovers_in(WINDOW, {"3": rows.take(half), "4": rows.take(~half)}) == [], "side by side"
    page = monitor_page(replace(report(decided["3"]), takeovers=takeovers), decided["3"], "run-1")
    assert page.count(">version 4<") == 3  # decisions, alerts, response time
    assert [each["version"] for each in replace(report(rows), takeovers=takeovers).to_dict()["takeovers"]] == ["4", "3"]


def test_breaches_come_first_then_one_matrix_of_features(breached: MonitorReport) -> None:
    html = monitor_page(breached, None, "run-1")
    assert html.index("<h2>Breaches") < html.index("<h2>Drift, feature by feature") < html.index("<svg")
    matrix = html[html.index('<table class="matrix">') :].partition("</table>")[0]
    assert re.findall(r'<th class="number">(\w+)</th>', matrix) == ["PSI", "KS", "missing", "outside"]
    features = re.findall(r"<tr><th>([\w<>]+)</th>", matrix.partition("<tbody>")[2])
    assert features[0] == "V14"
    assert len(features) == len(set(features)) == len(breached.watched.drifts)


def test_the_terminal_shows_breaches_first_and_shares_in_percent(breached: MonitorReport, capsys: Any) -> None:
    for table in breached.to_tables():
        console.print(table)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["breach", "value", "limit"]
    assert shown[1].startswith("PSI of V14")
    (alerts,) = [line for line in shown if line.startswith("alerts  ")]
    assert re.fullmatch(r"alerts +[\d.]+ % +[\d.]+ to [\d.]+ % +ok", alerts)
    assert any(line.startswith("feature ") for line in shown)


def test_a_share_of_few_decisions_is_a_count(
    decide: Callable[..., KeptDecisions], report: Callable[[KeptDecisions], MonitorReport]
) -> None:
    few = report(decide(rows=12, seed=7))
    figures = {figure.name: figure for figure in few.figures if not figure.of}
    assert re.fullmatch(r"\d+ of 12", few.text(figures["alert_share"]))


def test_names_are_no_markup(breached: MonitorReport) -> None:
    hostile = replace(breached, model_name="<script>alert(1)</script>", version='"><img src=x onerror=alert(1)>')
    html = monitor_page(hostile, None, "<script>run</script>")
    assert re.findall("<script|<img", html) == []
    assert html.count("&lt;script&gt;") >= 2
