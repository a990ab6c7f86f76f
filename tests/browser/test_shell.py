"""The frame around the views: status, keys, colours, addresses."""

import os
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from pipelines.run_page import runs_page
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import MakeGateway, Visitor
from tests.browser.released import Version
from tests.browser.visits import FILLED
from tests.support.gateway import KEY, Gateway
from tests.support.machine import ROOT

pytestmark = pytest.mark.slow


def make_key(gateway: Gateway, scope: str) -> str:
    """A new key, which the running gateway knows of."""
    command = [sys.executable, "-m", "serving", "keys", "create", "--name", scope, "--scope", scope]
    environment = os.environ | {"FRAUD_STATE_DIR": str(gateway.state)}
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    gateway.wait_until(lambda: gateway.client.get("/features", headers={"X-API-Key": made}).status_code != 401)
    return made


def test_status_shows_a_swap_while_the_page_is_open(
    visit: Visitor, make_gateway: MakeGateway, versions: list[Version]
) -> None:
    gateway = make_gateway()
    page = visit(url=gateway.url).open("score")
    status = page.locator("#status")
    expect(status).to_contain_text("Ready · version 1")
    page.get_by_role("button", name="Fraudulent sample").click()
    versions[1].publish(gateway.releases)
    expect(status).to_contain_text("Ready · version 2")
    expect(page.locator("#announcer")).to_have_text("Ready · version 2")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".answer dl")).to_contain_text("Model version2")
    decline = versions[1].bundle.manifest.thresholds.decline
    expect(page.locator(".answer").get_by_role("img", name=f"declined from {decline:.3g}")).to_be_visible()


def test_a_gateway_that_goes_away_comes_back_by_itself(visit: Visitor, make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    tab = visit(url=gateway.url)
    tab.expect_complaint("ERR_|503")
    page = tab.open("score")
    page.get_by_role("button", name="Legitimate sample").click()
    expect(page.locator("summary")).to_contain_text(FILLED)
    assert gateway.end(60) == 0
    status = page.locator("#status")
    expect(status).to_contain_text("Gateway unreachable. Your work is kept; reconnecting…")
    assert violations(page) == []
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway cannot be reached.")
    expect(page.locator("summary")).to_contain_text(FILLED)
    gateway.start()
    expect(status).to_contain_text("Ready · version 1", timeout=60_000)
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".verdict")).to_be_visible()


def test_a_key_is_asked_for_kept_in_the_tab_and_can_be_forgotten(visit: Visitor, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(FRAUD_REQUIRE_KEYS="true", FRAUD_BOOTSTRAP_KEY=KEY)
    tab = visit(url=gateway.url)
    tab.expect_complaint("401")
    page = tab.open("score")
    page.get_by_role("button", name="Fraudulent sample").click()
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("This needs an API key.")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("alert")).to_contain_text("This needs an API key")
    page.get_by_role("button", name="Fraudulent sample").click()
    page.get_by_label("Key, kept").fill(KEY)
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("summary")).to_contain_text(FILLED)
    page.get_by_role("button", name="Score", exact=True).click()
    command = page.get_by_label("curl command", exact=True)
    expect(command).to_contain_text('-H "X-API-Key: $FRAUD_API_KEY"')
    assert KEY not in page.content()
    page.reload()
    page.get_by_role("button", name="Fraudulent sample").click()
    expect(page.locator("summary")).to_contain_text(FILLED)

    # A wrong key says nothing of the queue, and the right one clears the error, wherever it is given.
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key, kept").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Review").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("key")
    desk = page.get_by_label("Prediction", exact=True)
    expect(desk).to_have_text("The queue could not be read.")
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key, kept").fill(KEY)
    page.keyboard.press("Enter")
    expect(desk).to_have_text("Queue empty. New alerts appear here as they come in.")
    expect(page.get_by_role("alert")).to_have_count(0)

    page.get_by_role("link", name="Score a transaction").first.click()
    page.get_by_role("button", name="API key").click()
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(dialog).to_contain_text("the scope “predict”")


def test_a_key_without_the_scope_says_which_is_missing(visit: Visitor, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(FRAUD_REQUIRE_KEYS="true", FRAUD_BOOTSTRAP_KEY=KEY)
    key = make_key(gateway, "read")
    tab = visit(url=gateway.url)
    tab.expect_complaint("401|403")
    page = tab.open("score")
    page.get_by_role("button", name="API key").click()
    page.get_by_label("Key, kept").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Fraudulent sample").click()
    expect(page.locator("summary")).to_contain_text(FILLED)
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("The key in use lacks the scope “predict”.")


def test_every_address_of_the_page_works(visit: Visitor) -> None:
    tab = visit()
    for path in ("/", "/ui", "/ui/", "/#/nothing", "/ui#/file"):
        tab.page.goto("about:blank")
        tab.page.goto(tab.url + path)
        heading, view = ("Score a file",) * 2 if path.endswith("file") else ("Card fraud", "Home")
        expect(tab.page.get_by_role("heading", level=1)).to_have_text(heading)
        expect(tab.page).to_have_title(f"{view} · Card fraud")
        expect(tab.page.get_by_role("link", name=view, exact=True)).to_have_attribute("aria-current", "page")


def test_home_says_what_needs_attention(visit: Visitor, watched: Gateway) -> None:
    queue = watched.client.get("/queue").json()
    page = visit(url=watched.url).open("home")
    expect(page.get_by_role("region", name="Live version")).to_contain_text("Promoted ")
    waiting = page.get_by_role("region", name="Waiting for review")
    expect(waiting.locator(".value")).to_have_text(f"{queue['waiting']:,}")
    expect(waiting).to_contain_text(f"{queue['alerts']:,} alerts")
    breaches = page.get_by_role("region", name="Breaches, last 24 hours")
    expect(breaches).to_contain_text("PSI of V11")
    expect(page.get_by_role("region", name="Last refusal")).to_contain_text("The gate has refused no candidate.")
    runs = page.get_by_role("link", name="Runs in MLflow")
    expect(runs).to_have_attribute("href", f"https://mlflow.example.org/{runs_page('7')}")
    assert violations(page) == []
    waiting.get_by_role("link", name="Start reviewing").click()
    expect(page.get_by_role("heading", name="Review")).to_be_focused()


def test_colours_can_be_switched_and_stay(visit: Visitor) -> None:
    page = visit(scheme="dark").open("score")
    root = page.locator(":root")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch to light colours").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_a_view_that_cannot_be_loaded_comes_back_by_itself(visit: Visitor, make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    tab = visit(url=gateway.url)
    tab.expect_complaint("ERR_|Failed to fetch dynamically|status of 503")
    page = tab.open("score")
    gateway.kill()
    page.get_by_role("link", name="Score a file").click()
    expect(page.get_by_role("alert")).to_contain_text("could not be loaded")
    gateway.start()
    expect(page.locator(".drop")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("could not be loaded")).to_have_count(0)


def test_the_api_page_is_dark_in_the_dark_and_readable_on_a_phone(visit: Visitor, gateway: Gateway) -> None:
    page = visit(width=360, scheme="dark").page
    page.goto(f"{gateway.url}/docs")
    path = page.locator(".opblock-summary-path", has_text="/predict-batch")
    expect(path).to_be_visible()
    assert path.bounding_box()["height"] < 40, "a path stays on one line"  # type: ignore[index]
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert max(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")) < 64
    assert overflow(page) == 0
    expect(page.get_by_text("ThresholdCurve")).to_have_count(0)  # schemas are folded
