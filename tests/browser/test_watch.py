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
    for title in ("Decisions and scores", "Response time", "Drift", "Labels"):
        panel = page.locator("section", has=page.get_by_role("heading", name=title, exact=True))
        expect(panel.locator(".chart").first).to_be_visible()
    assert page.locator(".chart rect.fill").count() > 60
    assert page.locator(".chart path.line").count() == 6
    short = page.get_by_label("In short")
    expect(short).to_contain_text("4,000")
    labels = [bucket["labels"] for bucket in said["buckets"]]
    fraud, labelled = (sum(each[name] for each in labels) for name in ("alerts_fraud", "alerts_labelled"))
    expect(short).to_contain_text(f"{fraud} of {labelled} labelled alerts were fraud")
    breached = [feature["name"] for feature in said["drift"]["features"] if feature["breached"]]
    assert "V11" in breached
    expect(short.locator("div", has_text="Drift")).to_contain_text(str(len(breached)))

    drift = page.locator("section", has=page.get_by_role("heading", name="Drift", exact=True))
    expect(drift.locator("rect.fill")).to_have_count(18)
    drift.get_by_role("button", name="Show all").click()
    expect(drift.locator("rect.fill")).to_have_count(len(said["drift"]["features"]))
    drift.get_by_text("As a table").click()
    expect(drift.get_by_role("row", name="V11")).to_contain_text("breach: PSI")
    expect(page.get_by_role("region", name="Challenger beside the champion")).to_contain_text("scored 800 transactions")
    expect(page.locator("text.third", has_text="drift starts").first).to_be_visible()
    expect(page.locator("text.first", has_text="version 1").first).to_be_visible()
    values = drift.locator("rect.fill").first.evaluate(
        "(bar) => [bar.getBoundingClientRect().right, "
        "bar.parentNode.querySelector('text.value').getBoundingClientRect().left]"
    )
    assert 0 < values[1] - values[0] < 12, "a value stands at its bar's end"


@pytest.mark.parametrize("width", [360, 1280])
def test_thresholds_are_named_beside_the_chart(visit: Visitor, watched: Gateway, width: int) -> None:
    """Where no curve runs through the names, and none on top of the other."""
    page = visit(url=watched.url, width=width).open("watch")
    scores = page.locator("figure", has=page.get_by_role("heading", name="Scores", exact=True))
    names = scores.locator("text.beside")
    expect(names).to_have_text(["decline", "review"])
    ends = scores.locator("line.mark.second, line.mark.third").evaluate_all(
        "lines => Math.max(...lines.map(line => line.getBoundingClientRect().right))"
    )
    first, second = (names.nth(place).bounding_box() for place in range(2))
    assert first is not None
    assert second is not None
    assert min(first["x"], second["x"]) >= ends
    assert first["y"] + 10 <= second["y"]
    frame = scores.bounding_box()
    assert frame is not None
    assert max(box["x"] + box["width"] for box in (first, second)) <= frame["x"] + frame["width"]


def test_a_breach_of_the_alert_share_is_called_one_and_charts_without_data_say_so(
    visit: Visitor, watched: Gateway, gateway: Gateway
) -> None:
    said = watched.client.get("/watch", params={"hours": 24, "buckets": 48}).json()
    share = {"name": "alerts", "value": 0.014, "baseline": 0.004, "low": 0.001, "high": 0.0055}
    said["shares"] = [share | {"judged": True, "breached": True}]
    tab = visit(url=watched.url)
    tab.page.route("**/watch?*", lambda route: route.fulfill(json=said))
    page = tab.open("watch")
    expect(page.get_by_label("In short").locator("[data-breach]").first).to_contain_text("breach")
    expect(page.get_by_label("In short")).to_contain_text("alert share 1.4 % (limit ≤ 0.55 %)")

    said = {**said, "rows": 0, "sampled_rows": 0, "drift": None, "shares": [], "shadow": []}
    none = {"APPROVE": 0, "REVIEW": 0, "DECLINE": 0}
    unlabelled = dict.fromkeys(said["buckets"][0]["labels"], 0)
    for bucket in said["buckets"]:
        bucket |= {"decisions": none, "score": None, "latency_ms": None, "labels": unlabelled}
    page.get_by_label("Window").select_option("Last hour")
    expect(page.get_by_text("No data yet.")).to_have_count(6)


def test_another_window(visit: Visitor, watched: Gateway) -> None:
    tab = visit(url=watched.url)
    tab.expect_complaint("503")
    tab.page.route("**/watch?*", lambda route: route.fulfill(status=503, json={"detail": "Not now."}))
    page = tab.open("watch")
    expect(page.get_by_role("alert")).to_contain_text("Not now.")
    expect(page.get_by_text("Loading…")).to_have_count(0)
    page.unroute("**/watch?*")
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
    expect(page.get_by_label("In short")).to_contain_text("no alert is labelled yet")
    sent = gateway.client.post("/predict", json=dict.fromkeys(RAW_FEATURES, 0.5))
    assert sent.status_code == 200
    gateway.wait_until(lambda: gateway.client.get("/watch", params={"hours": 24, "buckets": 48}).json()["rows"] == 1)
    page.get_by_label("Refresh automatically").uncheck()
    page.clock.run_for(20_000)
    expect(total).to_have_text("0")
    page.get_by_label("Refresh automatically").check()
    page.clock.run_for(20_000)
    expect(total).to_have_text("1")
