"""The live version's card: lineage, figures, curves, another threshold, history."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakeGateway, Visitor
from tests.browser.released import Version
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow


def test_the_card_says_where_the_version_comes_from(visit: Visitor, gateway: Gateway) -> None:
    card = gateway.client.get("/model").json()["card"]
    page = visit().open("model")
    expect(page.locator(".lineage")).to_contain_text(card["data"]["digest"])
    expect(page.locator(".lineage")).to_contain_text(card["lineage"]["git commit"])
    figure = card["figures"]["average_precision"]
    row = page.get_by_role("region", name="Figures on test").get_by_role("row", name="Average precision")
    expect(row).to_contain_text(f"{figure['value']:.3f}")
    expect(row).to_contain_text(f"{figure['low']:.3f} to {figure['high']:.3f}")
    checks = page.get_by_role("region", name="Gate", exact=True).locator("tbody tr")
    assert [text.split("\t")[1] for text in checks.all_inner_texts()] == ["failed", "not judged"]
    page.get_by_text("1 of 3 checks passed").click()
    expect(page.get_by_role("region", name="Passed", exact=True)).to_contain_text("recall at the alert budget")
    expect(page.get_by_role("region", name="Baselines")).to_contain_text("XGBoost alone")
    link = page.get_by_role("link", name="This version in MLflow")
    expect(link).to_have_attribute("href", "https://mlflow.example.org/#/models/fraud-ensemble/versions/1")
    curves = page.locator(".charts .chart")
    expect(curves).to_have_count(3)
    assert all(len(path.get_attribute("d") or "") > 20 for path in curves.locator("path.line").all())
    page.get_by_text("As a table").nth(1).click()
    table = page.get_by_role("region", name="Precision and recall, as a table")
    expect(table.locator("tbody tr")).to_have_count(len(card["test_curve"]["recall"]))


def test_the_slider_reads_the_curve_off(visit: Visitor, gateway: Gateway) -> None:
    live = gateway.client.get("/model").json()
    curve = live["card"]["what_if"]
    page = visit().open("model")
    slider = page.get_by_role("slider")
    in_use = int(slider.input_value())
    assert curve["threshold"][in_use] >= live["alert_threshold"] * (1 - 1e-5)
    figures = page.locator(".panel", has=slider).locator(".figures")
    expect(figures).to_contain_text("same as current")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    place = in_use + 10
    expect(figures).to_contain_text(f"{curve['alerts_per_day'][place]:.3g} alerts".split()[0])
    expect(figures).to_contain_text(f"{curve['recall'][place] * 100:.1f}".removesuffix(".0"))
    expect(figures).to_contain_text("vs current")
    said = slider.get_attribute("aria-valuetext") or ""
    assert said.startswith(f"threshold {curve['threshold'][place]:#.3g}")
    page.get_by_role("button", name="Back to the current threshold").click()
    assert int(slider.input_value()) == in_use


def test_without_an_amount_nothing_is_said_of_costs(visit: Visitor, gateway: Gateway) -> None:
    live = gateway.client.get("/model").json()
    figures = {name: figure for name, figure in live["card"]["figures"].items() if not name.startswith("cost")}
    live["card"] |= {"review_cost": None, "figures": figures}
    for curve in ("test_curve", "what_if"):
        live["card"][curve]["cost_per_day"] = []
    tab = visit()
    tab.page.route("**/model", lambda route: route.fulfill(json=live))
    page = tab.open("model")
    expect(page.locator(".charts .chart")).to_have_count(2)
    page.get_by_role("slider").press("ArrowRight")
    expect(page.locator("main")).to_contain_text("vs current")
    expect(page.locator("main")).not_to_contain_text("Cost a day")
    expect(page.locator("main")).not_to_contain_text("a review costs")


def test_on_a_phone_long_sections_are_folded(visit: Visitor, gateway: Gateway) -> None:
    page = visit(width=360).open("model")
    expect(page.get_by_role("slider")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollHeight") < 4_200
    for title in ("Baselines", "Curves on test", "Threshold policies", "Lineage"):
        part = page.locator("details.fold", has=page.get_by_role("heading", name=title))
        expect(part).not_to_have_attribute("open", "")
        part.locator("summary").first.click()
        expect(part.locator(":scope > .folded > *").last).to_be_visible()
    expect(page.locator(".charts .chart")).to_have_count(3)
    figures = page.get_by_role("region", name="Figures on test").locator("table")
    assert figures.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
    assert figures.evaluate(
        "table => table.querySelector('tr').getClientRects().length === 1 "
        "&& getComputedStyle(table.querySelector('td')).display === 'table-cell'"
    )


@pytest.mark.parametrize("width", [768, 1280])
def test_no_column_of_the_history_is_cut(visit: Visitor, gateway: Gateway, width: int) -> None:
    """Nor are many moves all shown at once."""
    why = "the gate passed it after a drift of V14 and V17 had been noticed"
    move = {"origin": 17, "to": 18, "who": "anna", "asked_by": "bob", "why": why, "gate": "passed", "outcome": "done"}
    moves = [
        move | {"number": number, "kind": "policy", "when": f"2026-01-{number:02d}T03:04:05Z"}
        for number in range(19, 0, -1)
    ]
    tab = visit(width=width)
    history = {"source": "history", "moves": moves, "refusals": []}
    tab.page.route("**/model/history", lambda route: route.fulfill(json=history))
    page = tab.open("model")
    table = page.get_by_role("region", name="History", exact=True)
    expect(table.locator("tbody tr")).to_have_count(5)
    expect(table).to_contain_text("17 → 18")
    assert table.evaluate("frame => frame.scrollWidth - frame.clientWidth") == 0
    page.get_by_text("14 older").click()
    expect(page.get_by_role("region", name="History, older").locator("tbody tr")).to_have_count(14)


def test_refusals_are_listed_with_their_reasons(visit: Visitor) -> None:
    refused = {
        "number": 4,
        "kind": "challenge",
        "origin": None,
        "to": 3,
        "who": "anna",
        "asked_by": None,
        "gate": "refused",
    }
    refused |= {
        "when": "2026-01-02T03:04:05Z",
        "why": "the gate refused it: recall 0.4 (limit ≥ 0.5)",
        "outcome": "done",
    }
    tab = visit()
    history = {"source": "history", "moves": [], "refusals": [refused]}
    tab.page.route("**/model/history", lambda route: route.fulfill(json=history))
    page = tab.open("model")
    expect(page.get_by_role("region", name="Refusals")).to_contain_text("recall 0.4 (limit ≥ 0.5)")
    page = tab.open("home")
    expect(page.get_by_role("region", name="Last refusal")).to_contain_text("recall 0.4 (limit ≥ 0.5)")


def test_history_and_a_version_that_goes_live_meanwhile(
    visit: Visitor, make_gateway: MakeGateway, versions: list[Version]
) -> None:
    gateway = make_gateway()
    page = visit(url=gateway.url).open("model")
    history = page.get_by_role("region", name="History")
    expect(history.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_text("MLflow is unreachable: only the latest promotion is known.")).to_be_visible()
    versions[1].publish(gateway.releases)
    expect(page.get_by_role("heading", name="fraud-ensemble · version 2")).to_be_visible(timeout=60_000)
