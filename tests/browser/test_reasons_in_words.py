"""What customers did before, in sentences, where people read why a transaction was stopped."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import expect

from ml_project.cleaning import clean
from ml_project.contract_file import read_contract
from ml_project.dataset import Dataset
from ml_project.simulator_cards import CardWorld, simulate_cards
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import Pictures, Visitor, started_gateway
from tests.browser.released import fit_version_of
from tests.support.gateway import Gateway
from tests.support.machine import ROOT

pytestmark = pytest.mark.slow

CARDS = ROOT / "contracts" / "cards.yaml"


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of the cards' contract."""
    world = CardWorld(customers=60, terminals=120, days=75)
    frame, _report = clean(pd.concat(simulate_cards(world, seed=4), ignore_index=True), read_contract(CARDS))
    version = fit_version_of(Dataset.from_frame(frame, read_contract(CARDS)))
    with ExitStack() as ends:
        made = started_gateway(ends, tmp_path_factory.mktemp("cards"), version, FRAUD_CONTRACT=str(CARDS))
        yield made


def with_a_past(gateway: Gateway, customer: str) -> None:
    """A month of small amounts, every other day."""
    now = datetime.now(UTC)
    past = [transaction(customer, now - timedelta(days=2 * day), f"{day}", 9.5 + day / 10) for day in range(1, 15)]
    gateway.client.post("/events", json=past).raise_for_status()


def transaction(customer: str, at: datetime, name: str, amount: float) -> dict[str, Any]:
    given = {"customer": customer, "terminal": f"{customer}'s corner shop", "amount": amount}
    return {"transaction": f"{customer} {name}", "at": at.isoformat().replace("+00:00", "Z"), **given}


@pytest.mark.parametrize("width", [360, 1440])
def test_reasons_are_sentences(visit: Visitor, cards: Gateway, width: int, pictures: Pictures) -> None:
    tab = visit(url=cards.url, width=width)
    page = tab.open("score")
    customer = f"bea {width}"
    with_a_past(cards, customer)
    large = transaction(customer, datetime.now(UTC) - timedelta(seconds=5), "large", 412.0)
    page.get_by_label("Or paste JSON").fill(json.dumps(large))
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_text("fields are in the form")).to_be_visible()
    page.get_by_label("Keep this result?").select_option("Keep as live traffic")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator(".badge.large")).not_to_have_text("APPROVE")
    answered = page.get_by_label("prediction id", exact=True).inner_text()
    reasons = cards.client.get(f"/predictions/{answered}").json()["reasons"]
    sentences = [reason["sentence"] for reason in reasons if "sentence" in reason]
    assert sentences
    assert any("this customer's" in said for said in sentences)
    for said in sentences:
        expect(page.locator(".signed-bars")).to_contain_text(said)
    expect(page.locator(".signed-bars li")).to_have_count(len(reasons))
    pictures(tab, f"reasons-{width}")
    assert violations(page) == []
    assert overflow(page) == 0
    page = tab.open("review")
    page.get_by_label("Order").select_option("Newest first")
    expect(page.locator("article")).to_contain_text(large["transaction"])
    expect(page.locator(".signed-bars")).to_contain_text(sentences[0])


def test_one_label_serves_all_open_alerts_of_a_customer(visit: Visitor, cards: Gateway, pictures: Pictures) -> None:
    with_a_past(cards, "anna")
    now = datetime.now(UTC)
    sent = [
        transaction("anna", now - timedelta(seconds=20 - place), f"case {place}", 5000.0 + place) for place in range(3)
    ]
    answers = [cards.client.post("/predict", json=each).json() for each in sent]
    alerts = [each["prediction_id"] for each in answers if each["decision"] != "APPROVE"]
    assert len(alerts) > 1
    tab = visit(url=cards.url)
    page = tab.open("review")
    case = page.get_by_role("region", name="Case")
    expect(case).to_contain_text("open alerts of customer anna")
    pictures(tab, "case")
    assert violations(page) == []
    case.get_by_role("button", name="legitimate").click()
    expect(page.locator("#announcer")).to_contain_text("labelled legitimate")
    page.get_by_role("link", name="Model").click()
    wanted = {"entity": "anna", "for_review": "true", "labelled": "false"}
    cards.wait_until(lambda: cards.client.get("/predictions", params=wanted).json()["items"] == [])
