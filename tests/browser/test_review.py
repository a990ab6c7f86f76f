"""The review queue: look, press one key, next; what was said arrives, or is said not to have."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Visitor, started_gateway
from tests.browser.released import Version
from tests.browser.traffic import keep_a_day
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow

WAIT = 9_000
"""Milliseconds after which a label was sent."""


@pytest.fixture(scope="module")
def busy(versions: list[Version], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a day of decisions, which tests label some of: each begins with what still waits."""
    with ExitStack() as ends:
        made = started_gateway(ends, tmp_path_factory.mktemp("busy"), versions[0])
        keep_a_day(versions[0], made.state)
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_open(busy: Gateway) -> None:
    """Windows of earlier tests were closed without a word; what they had claimed is free again."""
    with closing(sqlite3.connect(busy.state / "gateway" / "decisions.db", timeout=30)) as database, database:
        database.execute("DELETE FROM claims")


def waiting(gateway: Gateway, **filters: str) -> list[dict[str, Any]]:
    wanted = {"for_review": "true", "labelled": "false", "limit": "500", "order": "expected_loss", **filters}
    items: list[dict[str, Any]] = gateway.client.get("/predictions", params=wanted).json()["items"]
    return items


def labels_of(gateway: Gateway, item: dict[str, Any]) -> list[str]:
    return [each["label"] for each in gateway.client.get(f"/predictions/{item['prediction_id']}").json()["labels"]]


def shows(page: Page, item: dict[str, Any]) -> None:
    """Whether the desk has this prediction; keys mean nothing before it has one."""
    expect(page.get_by_label("Prediction", exact=True)).to_contain_text(item["prediction_id"])


def test_keys_label_undo_and_move_on(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    losses = [item["fraud_probability"] * item["inputs"]["Amount"] for item in queue]
    assert losses == sorted(losses, reverse=True)
    tab = visit(url=busy.url)
    tab.page.clock.install()
    page = tab.open("review")
    shows(page, queue[0])
    # others of these tests label, too, and come in any order
    expect(page.get_by_text(re.compile(rf"{len(queue)} waiting · today \d+ by you"))).to_be_visible()
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # labels wait until we say so

    page.get_by_label("Note").fill("called: not his")
    page.get_by_role("button", name="Fraud f").click()
    shows(page, queue[1])
    expect(page.locator("#announcer")).to_have_text("Labelled fraud")
    page.keyboard.press("l")
    shows(page, queue[2])
    page.keyboard.press("u")
    shows(page, queue[1])
    page.keyboard.press("n")
    shows(page, queue[2])
    page.get_by_role("button", name="Previous").click()
    shows(page, queue[1])
    page.keyboard.press("Control+f")  # the browser's own keys stay its own
    page.keyboard.press("s")
    shows(page, queue[2])
    rows = page.locator(".queue button")
    expect(rows.nth(0)).to_contain_text("✓ fraud")
    expect(rows.nth(1)).to_contain_text("skipped")
    rows.nth(2).focus()
    page.keyboard.press("ArrowUp")
    shows(page, queue[1])
    expect(rows.nth(1)).to_be_focused()
    assert page.locator('.queue button[tabindex="0"]').count() == 1

    assert labels_of(busy, queue[0]) == []
    page.clock.run_for(WAIT)
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["fraud"])
    assert labels_of(busy, queue[1]) == []
    expect(rows.nth(0)).to_contain_text("✓ saved fraud")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    expect(page.get_by_text(re.compile(rf"{len(queue) - 1} waiting · today \d+ by you"))).to_be_visible()
    kept = busy.client.get(f"/predictions/{queue[0]['prediction_id']}").json()
    assert kept["label"]["note"] == "called: not his"

    # The newest label counts, and both stay: what was sent can still be corrected.
    rows.nth(0).click()
    page.get_by_role("button", name="Legitimate l").click()
    page.clock.run_for(WAIT)
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["fraud", "legitimate"])


def test_what_waits_is_sent_when_the_page_is_left(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    page = visit(url=busy.url).open("review")
    shows(page, queue[0])
    page.keyboard.press("l")
    page.get_by_role("link", name="Model").click()
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["legitimate"])
    page.get_by_role("link", name="Review").click()
    shows(page, queue[1])
    page.keyboard.press("f")
    page.goto("about:blank")
    busy.wait_until(lambda: labels_of(busy, queue[1]) == ["fraud"])


def test_labels_that_could_not_be_sent_are_kept_and_named(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    tab = visit(url=busy.url)
    tab.expect_complaint("ERR_FAILED")
    tab.page.route("**/feedback", lambda route: route.abort())
    page = tab.open("review")
    shows(page, queue[0])
    page.keyboard.press("f")
    shows(page, queue[1])
    page.keyboard.press("l")
    shows(page, queue[2])
    page.get_by_role("link", name="Model").click()
    page.get_by_role("link", name="Review").click()
    unsaved = page.get_by_role("alert").filter(has_text="2 not saved")
    for item, label in zip(queue, ("fraud", "legitimate"), strict=False):
        expect(unsaved).to_contain_text(f"€{item['inputs']['Amount']:,.2f} · {item['prediction_id'][:13]}…: {label}")
    shows(page, queue[2])
    page.reload()
    expect(unsaved).to_be_visible()
    assert violations(page) == []
    tab.page.unroute("**/feedback")
    unsaved.get_by_role("button", name="Save now").click()
    busy.wait_until(lambda: [labels_of(busy, item) for item in queue[:2]] == [["fraud"], ["legitimate"]])
    expect(unsaved).to_have_count(0)


def test_the_end_of_the_queue_is_the_end(visit: Visitor, busy: Gateway) -> None:
    """One more key at the end labels nothing."""
    queue = waiting(busy)[:2]
    tab = visit(url=busy.url)
    tab.page.route("**/predictions?*", lambda route: route.fulfill(json={"items": queue, "next": None}))
    tab.page.clock.install()
    page = tab.open("review")
    shows(page, queue[0])
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.keyboard.press("l")
    shows(page, queue[1])
    page.keyboard.press("l")
    desk = page.get_by_label("Prediction", exact=True)
    expect(desk).to_have_text("All done.")
    expect(page.get_by_role("button", name="Fraud f")).to_be_disabled()
    page.keyboard.press("f")
    expect(page.locator(".queue button").nth(0)).to_contain_text("legitimate")
    page.keyboard.press("u")
    shows(page, queue[1])
    page.keyboard.press("u")
    shows(page, queue[0])
    assert labels_of(busy, queue[0]) == labels_of(busy, queue[1]) == []


def test_two_analysts_are_given_different_cases(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    first = visit(url=busy.url).open("review")
    shows(first, queue[0])
    busy.wait_until(lambda: waiting(busy)[0]["claim"] is not None)
    second = visit(url=busy.url).open("review")
    shows(second, queue[1])
    second.get_by_role("button", name="Reload").click()
    expect(second.locator(".queue button").nth(0)).to_contain_text("open: anonymous")
    first.get_by_role("link", name="Model").click()
    busy.wait_until(lambda: waiting(busy)[0]["claim"] is None)


def test_filters_and_what_is_new(visit: Visitor, busy: Gateway) -> None:
    tab = visit(url=busy.url)
    tab.page.clock.install()
    page = tab.open("review")
    dear = waiting(busy, amount_from="1", decision="DECLINE")
    page.get_by_text("Filters").click()
    page.get_by_label("Decision", exact=True).select_option("decline")
    page.get_by_label("Amount from").fill("1")
    page.keyboard.press("Tab")
    expect(page.get_by_text(f"{len(dear)} waiting ·")).to_be_visible()
    expect(page.locator(".queue button")).to_have_count(min(len(dear), 50))
    sent = busy.client.post("/predict", json=dear[0]["inputs"]).json()
    assert sent["decision"] == "DECLINE"
    page.clock.run_for(16_000)
    page.get_by_role("button", name="1 new: show").click()
    expect(page.get_by_text(f"{len(dear) + 1} waiting ·")).to_be_visible()
    busy.client.post("/feedback", json={"prediction_id": sent["prediction_id"], "label": "fraud"})


def test_keys_can_be_switched_off(visit: Visitor, busy: Gateway) -> None:
    page = visit(url=busy.url).open("review")
    shows(page, waiting(busy)[0])
    page.get_by_label("One-key shortcuts").uncheck()
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.reload()
    expect(page.get_by_label("One-key shortcuts")).not_to_be_checked()


def test_the_sample_is_mixed_in_and_marked(visit: Visitor, busy: Gateway) -> None:
    sample = {item["prediction_id"] for item in waiting(busy, decision="APPROVE")}
    assert len(sample) > 5
    page = visit(url=busy.url).open("review")
    page.get_by_label("Order").select_option("riskiest")
    shows(page, waiting(busy, order="riskiest")[0])
    entries = page.locator(".queue button")
    expect(entries.nth(5)).to_contain_text("sample")
    expect(entries.nth(4)).not_to_contain_text("sample")
    heights = {round(entries.nth(place).bounding_box()["height"]) for place in range(5)}  # type: ignore[index]
    assert max(heights) <= 36, "twenty rows fit on a screen"
    entries.nth(5).click()
    detail = page.get_by_label("Prediction", exact=True)
    expect(detail).to_contain_text("Approved, and picked at random to measure how much fraud we miss.")
    expect(detail.locator(".signed-bars li").first).to_be_visible()
    shown = detail.locator(".id").inner_text().removeprefix("Prediction ")
    assert shown in sample


def test_on_a_tablet_the_buttons_take_one_row(visit: Visitor, busy: Gateway) -> None:
    page = visit(url=busy.url, width=768).open("review")
    shows(page, waiting(busy)[0])
    boxes = [page.get_by_role("button", name=name).bounding_box() for name in ("Fraud", "Skip", "Previous", "Next")]
    assert len({box and box["y"] for box in boxes}) == 1


def test_an_unreadable_queue_leaves_no_empty_panel(visit: Visitor, busy: Gateway) -> None:
    tab = visit(url=busy.url)
    tab.expect_complaint("503")
    for path in ("predictions", "queue"):
        tab.page.route(f"**/{path}?*", lambda route: route.fulfill(status=503, json={"detail": "Not now."}))
    page = tab.open("review")
    expect(page.get_by_text("The queue could not be read.")).to_be_visible()
    expect(page.get_by_role("region", name="Queue")).to_be_hidden()


def test_an_empty_queue(visit: Visitor) -> None:
    page = visit().open("review")
    expect(page.get_by_label("Prediction", exact=True)).to_be_visible()
    assert violations(page) == []


def test_on_a_phone_the_buttons_take_one_row(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    page = visit(url=busy.url, width=360).open("review")
    shows(page, queue[0])
    bar = page.locator(".labels")
    assert bar.bounding_box()["height"] <= 64  # type: ignore[index]
    for name in ("Fraud", "Legitimate", "Skip", "Undo"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 40, name
    expect(page.get_by_role("button", name="Next")).to_be_hidden()
    page.keyboard.press("n")  # keys reach what is folded
    shows(page, queue[1])
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("button", name="Previous").click()
    shows(page, queue[0])
    page.get_by_label("Note").fill("called")
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("button", name="Next")).to_be_hidden()
    expect(page.get_by_label("Note")).to_be_visible()  # it will go with the label
    page.get_by_label("Note").fill("")
    page.get_by_label("Note").blur()
    expect(page.get_by_label("Note")).to_be_hidden()
    assert violations(page) == []
