"""One transaction: sample, paste, faults, answer."""

import json
import re
import shlex
from dataclasses import asdict
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import Pictures, Visitor
from tests.browser.released import Version
from tests.browser.visits import FILLED, LOOKS
from tests.support.creditcard import RAW_FEATURES
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow


def field(page: Page, name: str) -> Locator:
    """The control of a field."""
    return page.locator(f'form [name="{name}"]')


def fault(page: Page, name: str) -> Locator:
    """What the API said of it."""
    return page.locator(f"#{field(page, name).get_attribute('id')}-fault")


def score_sample(page: Page, kind: str) -> None:
    page.get_by_role("button", name=f"{kind} sample").click()
    expect(page.locator(".said .notice")).to_contain_text("sample of the live version")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".verdict")).to_be_visible()


@pytest.fixture
def sample(versions: list[Version]) -> dict[str, float]:
    """The fraud of version 1's card."""
    return versions[0].card.samples[1].transaction


def test_a_fraudulent_sample_is_declined_with_reasons(
    visit: Visitor, gateway: Gateway, versions: list[Version]
) -> None:
    page = visit().open("score")
    score_sample(page, "Fraudulent")
    panel = page.locator(".answer")
    expect(panel.locator(".verdict .badge.large")).to_have_text("DECLINE")
    prediction_id = panel.get_by_label("prediction id", exact=True).inner_text()
    kept = gateway.client.get(f"/predictions/{prediction_id}").json()
    assert kept["decision"] == "DECLINE"
    alert, decline = (f"{threshold:#.3g}" for threshold in asdict(versions[0].bundle.manifest.thresholds).values())
    label = panel.get_by_role("img").get_attribute("aria-label")
    assert label == f"Score {kept['hybrid_score']:#.3g}; reviewed from {alert}, declined from {decline}"
    bars = panel.locator(".signed-bars li")
    assert bars.count() == len(kept["reasons"])
    for place, reason in enumerate(kept["reasons"]):
        assert reason["contribution"] > 0
        expect(bars.nth(place)).to_contain_text(f"+{reason['contribution']:.3g} towards fraud")
    expect(bars.filter(has_text="usually ").first).to_be_visible()
    expect(bars.first.locator(".log-odds")).to_be_hidden()
    panel.get_by_role("button", name="Show log-odds").click()
    expect(bars.first.locator(".log-odds")).to_be_visible()
    assert kept["source"] == "trial"
    assert prediction_id not in {each["prediction_id"] for each in gateway.client.get("/predictions").json()["items"]}


def test_a_legitimate_sample_is_approved_and_explained_too(visit: Visitor) -> None:
    page = visit().open("score")
    score_sample(page, "Legitimate")
    expect(page.locator(".verdict .badge.large")).to_have_text("APPROVE")
    expect(page.locator(".signed-bars li").first).to_be_visible()


def test_the_curl_command_sends_the_same(visit: Visitor, gateway: Gateway, sample: dict[str, float]) -> None:
    page = visit().open("score")
    score_sample(page, "Fraudulent")
    command = shlex.split(page.get_by_label("curl command", exact=True).inner_text().replace("\\\n", " "))
    assert command[:2] == ["curl", "-sS"]
    assert command[2] == f"{gateway.url}/predict?explain=true&trial=true"
    assert json.loads(command[command.index("-d") + 1]) == sample


def spoilt(sample: dict[str, float]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != "V7"} | {"V3": "many", "Amount": -5}


def test_an_answer_belongs_to_what_was_sent(visit: Visitor, sample: dict[str, float]) -> None:
    tab = visit()
    tab.expect_complaint("422")
    page = tab.open("score")
    page.get_by_label("Or paste JSON").fill(json.dumps(sample | {"Amount": 99_999_999, "transaction_id": "till 7"}))
    page.get_by_role("button", name="Fill the form").click()
    page.get_by_role("button", name="Score", exact=True).click()
    panel = page.locator(".answer")
    expect(panel.get_by_role("heading", level=2)).to_have_text("Answer for €99,999,999.00, till 7")
    outside = panel.get_by_role("region", name="Outside the training range")
    expect(outside).to_contain_text("Amount = €99,999,999.00; training had €")
    assert panel.locator(".verdict + .outside").count() == 1
    expect(panel).not_to_have_attribute("data-stale", "")

    stale = panel.get_by_text("this answer is about €99,999,999.00, till 7.")
    field(page, "Amount").fill("12")
    expect(panel).to_have_attribute("data-stale", "")
    expect(stale).to_contain_text("The form has changed since")
    assert violations(page) == []
    page.get_by_role("button", name="Score", exact=True).click()
    expect(panel.get_by_role("heading", level=2)).to_have_text("Answer for €12.00, till 7")
    expect(panel).not_to_have_attribute("data-stale", "")
    field(page, "Amount").fill("-1")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(panel.get_by_text("The form was not scored: this answer is about €12.00, till 7.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(panel).to_have_attribute("data-stale", "")


def test_what_is_pasted_at_once_is_what_is_sent(visit: Visitor, sample: dict[str, float]) -> None:
    """Fields that come late: who fills and scores before the form is there sends what was pasted."""
    tab = visit()
    bodies: list[Any] = []
    tab.page.route("**/features", lambda route: (tab.page.wait_for_timeout(300), route.continue_()))
    tab.page.on("request", lambda sent: bodies.append(sent.post_data) if "/predict?" in sent.url else None)
    tab.page.goto(f"{tab.url}/#/score")
    tab.page.get_by_label("Or paste JSON").fill(json.dumps(sample))
    tab.page.evaluate(
        """() => {
            new MutationObserver((_all, watch) => {
                const score = [...document.querySelectorAll("form button")].find((one) => one.textContent === "Score");
                if (score) { watch.disconnect(); score.click(); }
            }).observe(document.body, { childList: true, subtree: true });
            [...document.querySelectorAll("button")].find((one) => one.textContent === "Fill the form").click();
        }"""
    )
    expect(tab.page.locator(".verdict")).to_be_visible()
    assert json.loads(bodies[0]) == sample


def test_nothing_is_kept_where_nothing_is_to_be(visit: Visitor, gateway: Gateway) -> None:
    page = visit().open("score")
    page.get_by_label("Keep this result?").select_option("Do not keep")
    score_sample(page, "Fraudulent")
    expect(page.locator(".answer")).to_contain_text("Not kept, as you asked.")


def test_faults_stand_beside_their_fields(visit: Visitor, sample: dict[str, float]) -> None:
    tab = visit()
    tab.expect_complaint("422")
    page = tab.open("score")
    page.get_by_label("Or paste JSON").fill(json.dumps(spoilt(sample)))
    page.get_by_role("button", name="Fill the form").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(fault(page, "V7")).to_have_text("Field required")
    expect(fault(page, "V3")).to_have_text("Input should be a valid number")
    expect(fault(page, "Amount")).to_have_text("Input should be greater than or equal to 0")
    assert page.locator("[aria-invalid]").count() == 3
    expect(field(page, "Amount")).to_be_focused()
    assert violations(page) == []
    for name, value in (("V7", "1"), ("V3", "1"), ("Amount", "5")):
        field(page, name).fill(value)
    field(page, "Amount").press("Enter")
    expect(page.locator(".verdict")).to_be_visible()
    assert page.locator("[aria-invalid]").count() == 0


@pytest.mark.parametrize("form", ["json", "row", "row of the data set", "header and row"])
def test_what_is_pasted_fills_the_form(visit: Visitor, sample: dict[str, float], form: str) -> None:
    values = [sample[name] for name in RAW_FEATURES]
    text = {
        "json": json.dumps(sample | {"Class": 1, "transaction_id": "it's 1"}),
        "row": ",".join(map(str, values)),
        "row of the data set": ",".join([*map(str, values), '"1"']),
        "header and row": "Class," + ",".join(RAW_FEATURES) + "\n1," + ",".join(map(str, values)),
    }[form]
    page = visit().open("score")
    page.get_by_label("Or paste JSON").fill(text)
    page.get_by_role("button", name="Fill the form").click()
    expect(page.locator("summary")).to_contain_text(FILLED)
    for name in ("Time", "V1", "V28", "Amount"):
        assert float(field(page, name).input_value()) == sample[name]
    assert ("Ignored: Class" in page.locator(".notice").inner_text()) == (form in ("json", "header and row"))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "This is not JSON"), ("1,2,3", "has 30 cells"), ("", "nothing to read")]
)
def test_what_cannot_be_read_is_said(visit: Visitor, text: str, said: str) -> None:
    page = visit().open("score")
    page.get_by_label("Or paste JSON").fill(text)
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_role("alert")).to_contain_text(said)


def test_markup_in_data_stays_text(visit: Visitor, sample: dict[str, float]) -> None:
    tab = visit()
    tab.expect_complaint("422")
    page = tab.open("score")
    page.get_by_label("Or paste JSON").fill(
        json.dumps(sample | {"V1": "<img src=x onerror=alert(1)>", "transaction_id": "<b>"})
    )
    page.get_by_role("button", name="Fill the form").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(fault(page, "V1")).to_have_text("Input should be a valid number")
    assert page.locator("main img, main b").count() == 0


def test_it_works_by_keyboard_alone(visit: Visitor) -> None:
    page = visit().open("score")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Fraudulent sample")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("summary")).to_contain_text(FILLED)
    for _ in range(20):
        if page.evaluate("document.activeElement.textContent") == "Score":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".verdict")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_is_accessible_and_fits(visit: Visitor, width: int, scheme: str, pictures: Pictures) -> None:
    tab = visit(width=width, scheme=scheme)
    page = tab.open("score")
    score_sample(page, "Fraudulent")
    page.locator("summary").click()
    assert violations(page) == []
    assert overflow(page) == 0
    assert page.locator(":root").get_attribute("data-theme") == scheme
    pictures(tab, f"score-one-{width}-{scheme}")


def test_moments_are_local(visit: Visitor) -> None:
    page = visit().open("score")
    shown = page.locator("#status").inner_text()
    moment = page.evaluate(
        "fetch('health/ready').then(a => a.json()).then(r => new Date(r.loaded_at).toLocaleTimeString('en-GB'))"
    )
    assert re.search(rf"Loaded \d+ \w+ \d+, {moment}", shown)
