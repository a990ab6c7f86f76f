"""The reports in a browser: readable from 360 px on, light and dark, without anything from elsewhere."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ml_project.drift import Drift, Shift
from ml_project.metrics import Estimate
from pipelines.data.validation_report import ExpectationResult, ValidationReport
from pipelines.monitoring.figures import Figure, LabelledFigures, WatchedFigures
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import MonitorReport
from pipelines.monitoring.window import Window
from pipelines.pages.render import render
from pipelines.promotion.card import card_html
from pipelines.promotion.report import Check, GateReport, Theme
from tests.browser.accessibility import overflow, violations
from tests.browser.released import Version
from tests.browser.visits import LOOKS
from tests.support.machine import ROOT

pytestmark = pytest.mark.slow

DAY = datetime(2026, 3, 1, tzinfo=UTC)
FEATURES = ("hybrid_score", "customer_amount_mean_7d_minus_overall", "V14", "V2", "merchant_category=travel")


def monitor() -> str:
    shares = (0.1,) * 10
    drifts = [Drift(name, 900.0, Shift(0.01, 0.1), Shift(0.02, 0.1), None, None, shares, shares) for name in FEATURES]
    figures = [
        each
        for place, name in enumerate(FEATURES)
        for each in (
            Figure("psi", name, 0.004 + place / 20, None, 0.1, True, place == 3),
            Figure("ks", name, 0.02, None, 0.1),
            Figure("missing", name, 0.00123, None, 0.01),
            *([Figure("out_of_range", name, 0.0, None, 0.008)] if name != "hybrid_score" else []),
        )
    ]
    figures += [Figure("rows", "", 12.0), Figure("alert_share", "", 1 / 12, 0.0, 0.25, False)]
    labelled = LabelledFigures(12.0, 2, 0.5, {"recall": Estimate(0.5, 0.0, 1.0)}, [Figure("recall", "", 0.5)])
    window = Window(DAY, DAY + timedelta(days=1))
    watched = WatchedFigures(drifts, figures)
    return monitor_page(
        MonitorReport("fraud-ensemble", "3", window, DAY, True, watched, labelled, [], currency="EUR"),
        None,
        "run-1",
        True,
    )


def gate() -> str:
    value, limit = "+24.9 pts [+0.7, +60.1] on 41 frauds", "the champion's, or more optional fields or features"
    checks = (
        Check(
            "savings against version 1", value, "interval above -10.0 pts", True, "What it means. " * 8, Theme.CHAMPION
        ),
        Check("schema unchanged", "another_very_long_feature_name_that_is_gone", limit, False, "What it means. " * 8),
        Check("hour 6 to 12", "1 fraud", "needs at least 10 frauds", True, theme=Theme.SLICES, judged=False),
    )
    themes = [(check.theme, [check]) for check in checks]
    about = {"model_name": "fraud-ensemble", "version": 2, "champion": 1, "run_id": "run-1", "made_at": "2026-03-01"}
    return render("gate.html", title="Gate", report=GateReport(checks), themes=themes, compared="", figures=[], **about)


def validation() -> str:
    kinds = ("expect_column_values_to_not_be_null", "expect_column_min_to_be_between")
    checks = tuple(
        ExpectationResult("transactions", kind, f"V{number}", "1 row: [nan]", "≥ -250", (number, kind) != (3, kinds[0]))
        for kind in kinds
        for number in range(6)
    )
    facts = {"source": "file", "digest": "ab12" * 16}
    return ValidationReport(checks, {}, Path()).page("a_bank_with_a_long_name.csv", "creditcard", facts, "suite.json")


def league() -> str:
    return (ROOT / "docs" / "league.html").read_text()


def retraining() -> str:
    return (ROOT / "docs" / "retraining.html").read_text()


@pytest.fixture(scope="module")
def shown(browser: Browser) -> Callable[[str, int, str], Page]:
    """Opens a page by its text; what it asks of any server fails the test."""

    def show(html: str, width: int, scheme: str) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        tab = context.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.set_content(html)
        assert asked == []
        return tab

    return show


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("report", [monitor, gate, validation, league, retraining])
def test_a_report_is_accessible_and_fits(
    shown: Callable[[str, int, str], Page], report: Callable[[], str], width: int, scheme: str
) -> None:
    tab = shown(report(), width, scheme)
    assert violations(tab) == []
    assert overflow(tab) == 0
    if width < 640:
        wide = "tables => tables.filter(table => table.scrollWidth > table.parentElement.clientWidth).length"
        assert tab.locator("table").evaluate_all(wide) == 0, "no column of a table is cut on a phone"
    tab.context.close()


def test_the_matrix_is_readable_on_a_phone(shown: Callable[[str, int, str], Page]) -> None:
    """Every figure whole, on its own line with its limit below, and what breaches on top."""
    tab = shown(monitor(), 360, "light")
    rows = tab.locator("table.matrix tbody tr")
    assert rows.count() == len(FEATURES)
    assert "✗ 0.154" in rows.first.inner_text()
    cells = tab.locator("table.matrix td")
    ends = [
        box["x"] + box["width"] for box in (cells.nth(place).bounding_box() for place in range(cells.count())) if box
    ]
    assert max(ends) <= 360
    size = cells.first.evaluate("cell => parseFloat(getComputedStyle(cell).fontSize)")
    assert size >= 11
    tab.context.close()


def test_no_column_of_a_card_is_cut_on_a_phone(shown: Callable[[str, int, str], Page], versions: list[Version]) -> None:
    tab = shown(card_html(versions[0].card, "EUR"), 360, "dark")
    wide = "tables => tables.filter(table => table.scrollWidth > table.parentElement.clientWidth).length"
    assert tab.locator("table").evaluate_all(wide) == 0
    assert violations(tab) == []
    tab.context.close()
