"""Puts a verdict where people look for it: the run's artifacts, and the version's description that links to them."""

from datetime import UTC, datetime

from pipelines.card.build import build_card
from pipelines.card.pages import card_html, card_markdown, short_form
from pipelines.gate.page import gate_page
from pipelines.gate.report import GateReport
from pipelines.monitoring.figures import MonitorLimits
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run
from stores.registry import CARD_FILE


def log_report(settings: PipelineSettings, run: Run, version: int, report: GateReport) -> None:
    """Log the report as data and as a page, and the model card; describe the version by them."""
    run.log_json(report.to_dict(), "gate.json")
    evidence = report.evidence
    if evidence is None:
        return
    run.log_text(
        gate_page(report, evidence, settings.model_name, version, run.id, datetime.now(UTC)),
        "gate.html",
    )
    shipped = evidence.shipped.bundle
    if shipped is None:
        return
    limits = MonitorLimits.load(settings.monitor_limits).drift
    card = build_card(run, report, evidence, shipped, settings.model_name, version, limits)
    run.log_text(card.model_dump_json(indent=1), CARD_FILE)
    run.log_text(card_html(card), "card.html")
    run.log_text(card_markdown(card), "card.md")
    # within MLflow's own page, so that it holds behind any host name
    artifacts = f"#/experiments/{run.experiment_id}/runs/{run.id}/artifacts"
    run.client.update_model_version(settings.model_name, str(version), short_form(card, artifacts))
