"""The page of a bank's own contract: five fields or three hundred, and every type of field."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from ml_project.contract import Contract
from ml_project.contract_file import read_contract
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import Pictures, Visitor, started_gateway
from tests.browser.released import fit_version
from tests.browser.visits import Visit
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow

PHONE, DESK = 360, 1440

FIVE = """\
contract: kiosk
fields:
  seconds: {type: number, role: time, minimum: 0}
  price: {type: number, role: amount, minimum: 0, description: What the customer pays.}
  items: {type: number}
  "age of the account, in days": {type: number}
  risk: {type: number}
label: {field: fraud}
features:
  hour: {hour_of_day: seconds}
  price: {value: price}
  items: {value: items}
  age: {value: "age of the account, in days"}
  risk: {value: risk}
"""

WORDS = ["country", "browser", "screen", "language", "battery", "memory", "fonts", "clock"]
PARTS = ["code", "age", "changes", "seen", "share"]
NAMES = [f"device_{word}_{part}" for word in WORDS for part in PARTS]
WIDE = "\n".join(
    [
        "contract: wide",
        "fields:",
        "  seconds: {type: number, role: time, minimum: 0}",
        "  amount paid: {type: number, role: amount, minimum: 0}",
        "  score1..score258: {type: number}",
        *(f"  {name}: {{type: number}}" for name in NAMES),
        "label: {field: is fraud}",
        "features:",
        "  amount: {log1p: amount paid}",
        "  score1..score258: {value: score1..score258}",
        *(f"  {name}: {{value: {name}}}" for name in NAMES),
        "",
    ]
)


def transactions(contract: Contract, rows: int = 3_000) -> tuple[Any, Any]:
    """Frauds have high values in the contract's last field, and in its seventh if it has so many."""
    rng = np.random.default_rng(4)
    label = (rng.random(rows) < 0.03).astype(np.int8)
    raw = rng.normal(size=(rows, len(contract.raw_fields)))
    raw[:, -1] += 3 * label
    raw[:, min(6, raw.shape[1] - 1)] += 1.5 * label
    raw[:, contract.amount_place] = np.round(rng.exponential(40, rows), 2)
    raw[:, contract.time_place] = np.sort(rng.uniform(0, 5 * 86_400, rows)).round()
    return raw, label


@pytest.fixture(scope="module", params=[FIVE, WIDE], ids=["5 fields", "300 fields"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Contract, Gateway]]:
    """A gateway of an own contract."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "own.yaml"
    path.write_text(request.param)
    contract = read_contract(path)
    version = fit_version(contract, *transactions(contract))
    with ExitStack() as ends:
        yield contract, started_gateway(ends, folder, version, FRAUD_CONTRACT=str(path))


def score_sample(page: Page) -> None:
    page.get_by_label("Keep this result?").select_option("Keep as live traffic")
    page.get_by_role("button", name="Fraudulent sample").click()
    expect(page.locator(".notice")).to_contain_text("sample of the live version")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".verdict")).to_be_visible()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_one_transaction(visit: Visitor, own: tuple[Contract, Gateway], width: int, pictures: Pictures) -> None:
    contract, gateway = own
    tab = visit(url=gateway.url, width=width)
    page = tab.open("score")
    expect(page.get_by_label(f"{contract.amount}, in EUR")).to_be_visible()
    shown = [name for name in contract.raw_fields if page.locator(f'form [name="{name}"]').is_visible()]
    few = len(contract.raw_fields) == 5
    assert len(shown) == 5 if few else 8
    assert contract.raw_fields[-1] in shown, "what moves the score most is not at hand"
    assert page.locator("details").count() == (0 if few else 2)
    score_sample(page)
    pictures(tab, f"own-{len(contract.raw_fields)}-{width}")
    assert violations(page) == []
    assert overflow(page) == 0
    answered = page.get_by_label("prediction id", exact=True).inner_text()
    kept = gateway.client.get(f"/predictions/{answered}").json()
    assert [*kept["inputs"]] == [*contract.raw_fields]
    assert kept["contract"]["name"] == contract.contract
    if not few:
        find_one(tab, page, width, pictures)


def find_one(tab: Visit, page: Page, width: int, pictures: Pictures) -> None:
    page.get_by_label("Find one of 300 fields").fill("battery")
    expect(page.locator('form [name="device_battery_age"]')).to_be_visible()
    expect(page.locator('form [name="score100"]')).to_be_hidden()
    expect(page.locator("details:visible")).to_have_count(1)
    pictures(tab, f"own-300-found-{width}")
    page.get_by_label("Find one of 300 fields").fill("zebra")
    expect(page.get_by_text("No field has that name.")).to_be_visible()
    page.get_by_label("Find one of 300 fields").fill("")
    expect(page.locator("details:visible")).to_have_count(2)


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_other_views(visit: Visitor, own: tuple[Contract, Gateway], width: int, pictures: Pictures) -> None:
    contract, gateway = own
    tab = visit(url=gateway.url, width=width)
    score_sample(tab.open("score"))
    page = tab.open("review")
    expect(page.locator("h2.sum")).to_contain_text("€")
    page.locator("summary").filter(has_text="All fields").click()
    expect(page.locator(".inputs dt").first).to_be_visible()
    assert page.locator(".inputs dt").count() == len(contract.raw_fields)
    if len(contract.raw_fields) > 40:
        page.get_by_label("Find one of 300 fields").fill("device_fonts")
        expect(page.locator(".inputs dt:visible")).to_have_count(len(PARTS))
    assert violations(page) == []
    assert overflow(page) == 0
    pictures(tab, f"own-{len(contract.raw_fields)}-review-{width}")
    page = tab.open("file")
    expect(page.locator(".drop")).to_contain_text(f"With {contract.label_field} in a CSV")
    expect(page.locator(".drop")).to_contain_text(contract.amount)
    page = tab.open("watch")
    expect(page.locator(".chart").first).to_be_visible()
    assert overflow(page) == 0


def test_a_row_of_ones_own_table(visit: Visitor, own: tuple[Contract, Gateway]) -> None:
    contract, gateway = own
    page = visit(url=gateway.url).open("score")
    pasted = page.get_by_label("Or paste JSON")
    pasted.fill(",".join(["1.5"] * len(contract.raw_fields)) + ",1")
    page.get_by_role("button", name="Fill the form").click()
    assert page.locator(f'form [name="{contract.raw_fields[-1]}"]').input_value() == "1.5"
    pasted.fill("1,2,3")
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_role("alert")).to_contain_text(f"has {len(contract.raw_fields)} cells (seconds, ")


def of_type(name: str, type_: str, **more: Any) -> dict[str, Any]:
    known = {"role": None, "required": True, "minimum": None, "maximum": None, "values": [], "scored": True}
    return {"name": name, "type": type_, **known, "example": None, "description": "", "training_range": None, **more}


MIXED: dict[str, Any] = {
    "model_version": "1",
    "contract": {"name": "cards", "version": 1, "digest": "c" * 64},
    "label": "is fraud",
    "telling": ["channel", "amount", "abroad", "country", "opened", "cents"],
    "groups": [],
    "fields": [
        of_type("amount", "number", role="amount", minimum=0, training_range={"minimum": 0.5, "maximum": 1999.0}),
        of_type("cents", "integer", required=False),
        of_type("abroad", "boolean"),
        of_type("channel", "category", values=["chip", "web", "phone"], required=False),
        of_type("country", "category", values=[f"country {place}" for place in range(60)]),
        of_type("opened", "timestamp"),
        of_type("transaction", "string", role="transaction_id", required=False, scored=False),
    ],
}


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_control_of_each_type(visit: Visitor, own: tuple[Contract, Gateway], width: int, pictures: Pictures) -> None:
    """Whatever the gateway says of its fields; what is sent is of each field's type."""
    tab = visit(url=own[1].url, width=width)
    sent: list[dict[str, Any]] = []

    def refuse(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "{}"))
        problem = {"detail": "Not valid.", "errors": [{"field": "channel", "message": "Unheard of"}]}
        route.fulfill(status=422, json=problem)

    tab.expect_complaint("422")
    tab.page.route("**/features", lambda route: route.fulfill(json=MIXED))
    tab.page.route(re.compile(r"/predict\?"), refuse)
    page = tab.open("score")
    page.get_by_label("amount, in EUR").fill("12.5")
    page.get_by_label("abroad").select_option("no")
    page.get_by_label("channel (optional)").select_option("web")
    page.get_by_label("country").fill("country 7")
    assert page.locator("datalist option").count() == 60
    page.get_by_role("button", name="Now, for opened").click()
    opened = page.get_by_label("opened", exact=True).input_value()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", opened)
    assert violations(page) == []
    assert overflow(page) == 0
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_label("channel (optional)")).to_be_focused()
    pictures(tab, f"own-types-{width}")
    assert sent == [{"amount": 12.5, "abroad": False, "channel": "web", "country": "country 7", "opened": opened}]

    given = {"amount": 1, "cents": 250, "abroad": True, "channel": "carrier pigeon", "country": None, "is fraud": 0}
    page.get_by_label("Or paste JSON").fill(json.dumps(given))
    page.get_by_role("button", name="Fill the form").click()
    expect(page.locator(".notice")).to_contain_text("Ignored: is fraud.")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not valid.")
    assert sent[1] == {"amount": 1, "cents": 250, "abroad": True, "channel": "carrier pigeon"}


def test_without_a_key_the_fields_are_asked_for(visit: Visitor, own: tuple[Contract, Gateway]) -> None:
    contract, gateway = own
    tab = visit(url=gateway.url)
    tab.expect_complaint("401")
    refused = {"detail": "This needs an API key."}
    tab.page.route("**/features", lambda route: route.fulfill(status=401, json=refused))
    page = tab.open("score")
    expect(page.locator(".notice")).to_contain_text("This needs an API key.")
    tab.page.unroute("**/features")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label(f"{contract.amount}, in EUR")).to_be_visible()


def test_the_gateway_says_which_fields_belong_together(own: tuple[Contract, Gateway]) -> None:
    contract, gateway = own
    told = gateway.client.get("/features").json()
    assert [field["name"] for field in told["fields"]] == [*contract.raw_fields, "transaction_id", "event_time"]
    assert sorted(told["telling"]) == sorted(contract.raw_fields)
    assert told["telling"][0] == contract.raw_fields[-1]
    groups = {group["name"]: len(group["fields"]) for group in told["groups"]}
    assert groups == ({} if len(contract.raw_fields) == 5 else {"score1 to score258": 258, "device_…": 40})
