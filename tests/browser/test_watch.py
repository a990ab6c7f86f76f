"""Four charts of what the gateway decided lately."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakeGateway, Visitor
from tests.support.creditcard import RAW_FEATURES
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow


def test_four_charts_with_their_figures(visit: Visitor, watched: Gateway) -> None:
    said = watched.client.get("/watch").json()
    page = visit(url=watched.url).open("watch")
    for title in ("Decisions and scores", "Latency", "Drift", "Labels"):
        panel = page.locator("section", has=page.get_by_role("heading", name=title, exact=True))
        expect(panel.locator(".chart").first).to_be_visible()
    assert page.locator(".chart rect.fill").count() > 60
    assert page.locator(".chart path.line").count() == 6
    short = page.get_by_label("In short")
    expect(short).to_contain_text("4,000")
    expect(short).to_contain_text(f"{said['precision'] * 100:.1f}".removesuffix(".0"))
    breached = [feature["name"] for feature in said["drift"]["features"] if feature["breached"]]
    assert "V11" in breached
    expect(short.locator("div", has_text="Drift")).to_contain_text(str(len(breached)))

    drift = page.locator("section", has=page.get_by_role("heading", name="Drift", exact=True))
    expect(drift.locator("rect.fill")).to_have_count(18)
    drift.get_by_role("button", name="Show all").click()
    expect(drift.locator("rect.fill")).to_have_count(len(said["drift"]["features"]))
    drift.get_by_text("As a table").click()
    expect(drift.get_by_role("row", name="V11")).to_contain_text("over the limit")
    expect(page.get_by_role("region", name="Challenger beside the champion")).to_contain_text("800")


def test_another_window(visit: Visitor, watched: Gateway) -> None:
    page = visit(url=watched.url).open("watch")
    expect(page.get_by_label("In short")).to_contain_text("4,000")
    page.get_by_label("Window").select_option("Last hour")
    rows = watched.client.get("/watch", params={"hours": 1, "buckets": 48}).json()["rows"]
    assert 0 < rows < 400
    expect(page.get_by_label("In short").locator("dd").first).to_have_text(str(rows))


def test_it_updates_by_itself_unless_told_not_to(visit: Visitor, make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    tab = visit(url=gateway.url)
    tab.page.clock.install()
    page = tab.open("watch")
    total = page.get_by_label("In short").locator("dd").first
    expect(total).to_have_text("0")
    sent = gateway.client.post("/predict", json=dict.fromkeys(RAW_FEATURES, 0.5))
    assert sent.status_code == 200
    gateway.wait_until(lambda: gateway.client.get("/watch", params={"hours": 24, "buckets": 48}).json()["rows"] == 1)
    page.get_by_label("Update by itself").uncheck()
    page.clock.run_for(20_000)
    expect(total).to_have_text("0")
    page.get_by_label("Update by itself").check()
    page.clock.run_for(20_000)
    expect(total).to_have_text("1")
