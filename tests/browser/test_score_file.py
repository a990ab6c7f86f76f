"""A file: up and back, at a glance, row by row."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from ml_project.scorer import Scorer
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import MakeGateway, Pictures, Visitor
from tests.browser.files import transactions, write_csv, write_parquet
from tests.browser.released import Version
from tests.browser.visits import FILLED, LOOKS
from tests.support.gateway import KEY

pytestmark = pytest.mark.slow

ROWS = 100_000
BAD = {5: "abc", 70_000: "1,2", 99_999: ""}


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("large"), ROWS, BAD)


def send(page: Page, path: Path) -> None:
    page.locator("#file").set_input_files(path)
    expect(page.get_by_role("heading", name="Rows", exact=True)).to_be_visible(timeout=90_000)


def expected(rows: int, version: Version, without: set[int]) -> pd.DataFrame:
    """Scores, amounts and decisions of the good rows."""
    frame = transactions(rows).drop(index=list(without))
    scores = Scorer(version.bundle, threads=2).score(frame.to_numpy())
    thresholds = version.bundle.manifest.thresholds
    decision = (scores.hybrid >= thresholds.alert).astype(int) + (scores.hybrid >= thresholds.decline)
    return frame.assign(score=scores.hybrid, decision=decision)


def figures(page: Page) -> list[str]:
    return page.locator(".summary dd").all_inner_texts()


def test_a_hundred_thousand_rows(visit: Visitor, versions: list[Version], large_file: Path) -> None:
    page = visit().open("file")
    send(page, large_file)
    good = expected(ROWS, versions[0], set(BAD))
    counts = good["decision"].value_counts()
    shown = [text.split("\n")[0] for text in figures(page)]
    risk = good.loc[good["decision"] > 0, "Amount"].sum()
    assert shown == [*(f"{counts[kind]:,}" for kind in range(3)), f"€{risk:,.0f}", "3", "1"]
    expect(page.locator(".number-words")).to_contain_text(f"{ROWS - 3:,} rows in")

    bad = page.get_by_role("region", name="Bad rows").locator("tbody tr")
    assert [row.split("\t") for row in bad.all_inner_texts()] == [
        ["7", "V1: Input should be a finite number (“abc”)"],
        ["70002", "V1: Input should be a finite number (“1,2”)"],
        ["100001", "V1: Input should be a finite number (“”)"],
    ]
    marks = page.locator(".summary svg").get_attribute("aria-label")
    assert marks == f"Histogram of {ROWS - 3:,} scores, {counts[1] + counts[2]:,} at or above the alert threshold"


def test_the_table_filters_sorts_turns_and_is_kept(visit: Visitor, versions: list[Version], large_file: Path) -> None:
    page = visit().open("file")
    send(page, large_file)
    good = expected(ROWS, versions[0], set(BAD))
    reviewed = good[good["decision"] == 1].sort_values("Amount", ascending=False)
    page.get_by_label("Decision", exact=True).select_option("REVIEW")
    page.get_by_role("button", name="Amount", exact=True).click()
    table = page.get_by_role("region", name="Scored rows")
    expect(table.get_by_role("columnheader", name="Amount")).to_have_attribute("aria-sort", "descending")
    lines = [int(text) for text in table.locator("tbody td:first-child").all_inner_texts()]
    assert lines == [index + 2 for index in reviewed.index[:50]]
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_text(f"51 to 100 of {len(reviewed):,} rows")).to_be_visible()
    expect(page.get_by_role("button", name="Next page")).to_be_focused()

    page.get_by_label("Amount from").fill("200")
    over = reviewed[reviewed["Amount"] >= 200]
    expect(page.get_by_text(f"1 to {min(50, len(over))} of {len(over)} rows")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    assert saved.value.suggested_filename == "transactions-scored.csv"
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())))
    assert [int(row["row"]) - 2 for row in rows] == list(over.index)
    assert {row["decision"] for row in rows} == {"REVIEW"}
    assert [float(row["amount"]) for row in rows] == pytest.approx(list(over["Amount"]))

    page.get_by_label("Id or line").fill(rows[0]["prediction_id"])
    expect(page.get_by_text("1 to 1 of 1 row")).to_be_visible()
    page.get_by_label("Id or line").fill("nothing like it")
    expect(page.get_by_text("No rows match.")).to_be_visible()

    page.get_by_role("link", name="Score a transaction").click()
    expect(page.get_by_role("heading", name="Score a transaction")).to_be_focused()
    page.get_by_role("link", name="Score a file").click()
    expect(page.get_by_text("Last scored: transactions.csv")).to_be_visible()


def test_parquet(visit: Visitor, versions: list[Version], tmp_path: Path) -> None:
    page = visit().open("file")
    send(page, write_parquet(tmp_path, 2_000))
    counts = expected(2_000, versions[0], set())["decision"].value_counts()
    assert [text.split("\n")[0] for text in figures(page)][:3] == [f"{counts.get(kind, 0):,}" for kind in range(3)]
    expect(page.get_by_role("columnheader", name="Row", exact=True)).to_be_visible()


def test_labels_in_the_file_and_a_row_in_full(visit: Visitor, versions: list[Version], tmp_path: Path) -> None:
    good = expected(2_000, versions[0], set())
    alerts = good["decision"] > 0
    assert 5 < alerts.sum() < 60
    frauds = alerts.copy()
    frauds[good.index[alerts][0]] = False  # a false alarm
    frauds[good.index[~alerts][:2]] = True  # two that are missed
    path = tmp_path / "labelled.csv"
    transactions(2_000).assign(Class=frauds.astype(int)).to_csv(path, index=False)
    page = visit().open("file")
    send(page, path)
    outcomes = page.get_by_role("region", name="By the labels in the file")
    expect(outcomes).to_contain_text(f"{alerts.sum() - 1} of {frauds.sum()} frauds raised an alert")
    expect(outcomes).to_contain_text(f"{alerts.sum() - 1} of {alerts.sum()} labelled alerts were fraud")
    page.get_by_role("region", name="Scored rows").locator("tbody button").first.click()
    row = page.get_by_role("article", name="Row")
    expect(row).to_contain_text("Trial")
    expect(row.locator(".signed-bars li").first).to_be_visible()
    assert violations(page) == []


def test_a_file_can_be_dropped(visit: Visitor, tmp_path: Path) -> None:
    page = visit().open("file")
    text = write_csv(tmp_path, 20).read_text()
    transfer = page.evaluate_handle(
        "text => { const t = new DataTransfer(); t.items.add(new File([text], 'few.csv')); return t; }", text
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("1 to 20 of 20 rows")).to_be_visible()


def test_a_cancelled_file_ends_and_another_can_follow(visit: Visitor, large_file: Path, tmp_path: Path) -> None:
    page = visit().open("file")
    page.locator("#file").set_input_files(large_file)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".number-words")).to_contain_text("Cancelled after")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    send(page, write_csv(tmp_path, 30))
    expect(page.get_by_text("1 to 30 of 30 rows")).to_be_visible()


def test_files_that_cannot_be_scored_say_why(visit: Visitor, tmp_path: Path) -> None:
    tab = visit()
    tab.expect_complaint("422")
    page = tab.open("file")
    path = tmp_path / "wrong.csv"
    path.write_text("Time,Amount,Colour\n1,2,red\n")
    page.locator("#file").set_input_files(path)
    expect(page.get_by_role("alert").filter(has_text="nothing was scored")).to_be_visible()
    expect(page.locator("#outcome li").filter(has_text="V28: Column required")).to_be_visible()
    expect(page.locator("#outcome li").filter(has_text="Colour: Unknown column")).to_be_visible()
    other = tmp_path / "picture.png"
    other.write_bytes(b"x")
    page.locator("#file").set_input_files(other)
    expect(page.get_by_text("picture.png is neither .csv nor .parquet.")).to_be_visible()


def test_a_gateway_that_dies_in_the_middle_is_told(visit: Visitor, make_gateway: MakeGateway, large_file: Path) -> None:
    gateway = make_gateway()
    tab = visit(url=gateway.url)
    tab.expect_complaint("ERR_")
    page = tab.open("file")
    page.locator("#file").set_input_files(large_file)
    expect(page.locator(".number-words")).to_contain_text("sent")
    gateway.kill()
    expect(
        page.get_by_role("alert").filter(has_text="cannot be reached").or_(page.get_by_text("was cut off"))
    ).to_be_visible()
    expect(page.locator(".number-words")).to_have_text("Not finished")


def test_a_locked_gateway_asks_for_a_key_once_and_goes_on(
    visit: Visitor, make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = make_gateway(FRAUD_REQUIRE_KEYS="true", FRAUD_BOOTSTRAP_KEY=KEY)
    tab = visit(url=gateway.url)
    tab.expect_complaint("401")
    page = tab.open("file")
    page.locator("#file").set_input_files(write_csv(tmp_path, 20_000))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("the scope “predict”")
    assert violations(page) == []
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 to 50 of 20,000 rows")).to_be_visible()
    page.get_by_role("link", name="Score a transaction").click()
    page.get_by_role("button", name="Legitimate sample").click()
    expect(page.locator("summary")).to_contain_text(FILLED)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_is_accessible_and_fits(visit: Visitor, width: int, scheme: str, tmp_path: Path, pictures: Pictures) -> None:
    tab = visit(width=width, scheme=scheme)
    page = tab.open("file")
    send(page, write_csv(tmp_path, 5_000, {3: "x"}))
    assert violations(page) == []
    assert overflow(page) == 0
    pictures(tab, f"score-a-file-{width}-{scheme}")
