import pytest

from ml_project.card import Ablation, Calibration, Card, Data, Figure, Part, Policy, ThresholdCurve
from pipelines.promotion.card import card_html, card_markdown, short_form

FIGURE = Figure(value=0.8, low=0.7, high=0.9)
CURVE = ThresholdCurve(
    threshold=(0.9, 0.5, 0.1),
    recall=(0.2, 0.6, 1.0),
    precision=(1.0, 0.7, 0.1),
    false_positive_rate=(0.0, 0.01, 0.5),
    alerts_per_day=(10.0, 50.0, 5000.0),
    cost_per_day=(900.0, 300.0, 25_000.0),
)


def card(first: float | None = 0.0, last: float | None = 172_800.0, gate: str = "passed") -> Card:
    return Card(
        card_version=1,
        model_name="fraud-ensemble",
        version=3,
        purpose="To find fraud.",
        limits=("Not for <b>people</b>.",),
        data=Data(
            source="file",
            name="bank.csv",
            digest="ab12",
            rows=12_000,
            frauds=170,
            first_moment=first,
            last_moment=last,
            splits={"train": Part(rows=7200, frauds=100, days=1.2)},
        ),
        figures={"average_precision": FIGURE},
        policy="f1",
        policies={
            "f1": Policy(alert=0.4, decline=2.0, test={"recall": FIGURE}),
            "cost": Policy(alert=2.0, decline=2.0, test={}),
        },
        alerts_per_day=200,
        review_cost=5,
        ablations={"xgboost_alone": Ablation(average_precision=FIGURE, difference=FIGURE)},
        test_curve=CURVE,
        what_if=CURVE,
        calibration=Calibration(predicted=(0.1, 0.5), observed=(0.0, 0.6), rows=(100.0, 5.0)),
        samples=(),
        settings={"max_depth": "5"},
        lineage={"run": "r1", "git commit": ""},
        gate=gate,
    )


def test_a_threshold_that_nothing_reaches_is_called_so() -> None:
    assert "| f1 (in use) | 0.400 | never | 80.0 % |" in card_markdown(card())
    assert "| cost | never | never |" in card_markdown(card())


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (0.0, 172_800.0, "2.0 days (the data's own clock; no dates)"),
        (1_767_225_600.0, 1_767_312_000.0, "1.0 days, 2026-01-01 00:00 to 2026-01-02 00:00 UTC"),
        (None, None, "unknown"),
    ],
)
def test_the_period_is_dated_where_the_data_have_dates(first: float | None, last: float | None, words: str) -> None:
    assert f"- period: {words}\n" in card_markdown(card(first, last))


def test_the_page_escapes_and_draws() -> None:
    html = card_html(card(gate="refused: recall: 0.1 (limit >= 0.7)"))
    assert "Not for &lt;b&gt;people&lt;/b&gt;." in html
    assert html.count("<svg") == 3
    assert "recall: 0.1 (limit &gt;= 0.7)" in html
    assert "git commit" not in html


def test_the_short_form_has_figure_gate_and_links() -> None:
    cost = Figure(value=1721.7, low=1200.2, high=2300.9)
    figures = {"average_precision": FIGURE, "recall": FIGURE, "cost_per_day": cost}
    shown = card().model_copy(update={"figures": figures})
    text = short_form(shown, "#/experiments/1/runs/r1/artifacts", "EUR")
    assert text.startswith("**Gate passed.**")
    assert "- average precision: **0.800** (0.700 to 0.900)\n" in text
    assert ": **80.0 %** (70.0 to 90.0 %)\n" in text
    assert "**€1,722** (€1,200 to €2,301)\n" in text
    assert "Policy f1." in text
    assert "[model card](#/experiments/1/runs/r1/artifacts/card.html)" in text
