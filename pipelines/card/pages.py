"""A card for people: Markdown, HTML, and the few lines that stand in the registry."""

from datetime import UTC, datetime

from ml_project.card import Card
from ml_project.schema import SECONDS_PER_DAY
from pipelines.card.words import ABLATIONS, FIGURES
from pipelines.pages.charts import Axis, Line, chart
from pipelines.pages.model_curves import Picture
from pipelines.pages.render import render

_YEAR = 365 * SECONDS_PER_DAY


def card_markdown(card: Card) -> str:
    """The card as Markdown."""
    return render("card.md", card=card, words=FIGURES, ablations=ABLATIONS, period=_period(card))


def card_html(card: Card) -> str:
    """The card as a page with curves."""
    return render(
        "card.html",
        title=f"{card.model_name} {card.version}",
        card=card,
        words=FIGURES,
        ablations=ABLATIONS,
        period=_period(card),
        figures=_pictures(card),
    )


def short_form(card: Card, artifacts: str) -> str:
    """A version's description in the registry.

    Parameters
    ----------
    artifacts : str
        Address of the run's artifacts in MLflow's page.
    """
    precision = card.figures["average_precision"]
    return (
        f"Trained on {card.data.source} data ({card.data.rows:,} rows, {card.data.frauds} frauds). Evaluation twin on "
        f"later rows: average precision {precision}. Policy {card.policy}. Gate {card.gate}.\n\n"
        f"[Gate report]({artifacts}/gate.html) · [model card]({artifacts}/card.html)"
    )


def _period(card: Card) -> str:
    first, last = card.data.first_moment, card.data.last_moment
    if first is None or last is None:
        return "unknown"
    days = f"{(last - first) / SECONDS_PER_DAY:.1f} days"
    # without event_time a moment is the extract's own clock, which starts at 0
    if first < _YEAR:
        return f"{days} (the data's own clock; no dates)"
    dates = (datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M") for moment in (first, last))
    return f"{days}, {' to '.join(dates)} UTC"


def _pictures(card: Card) -> list[Picture]:
    test, what_if = card.test_curve, card.what_if
    bins = card.calibration
    alert = what_if.at(card.policies[card.policy].alert)
    point = slice(alert, alert + 1) if alert >= 0 else slice(0)
    drawn = [
        (
            "Precision and recall",
            "The twin on test.",
            Axis("recall", limits=(0, 1.02)),
            Axis("precision", limits=(0, 1.03)),
            [Line("", test.recall, test.precision, step=True)],
        ),
        (
            "What another threshold would do",
            "Forward scores, which the shipped thresholds were read off; the dot is the policy in use.",
            Axis("alerts a day", log=True),
            Axis("cost a day", log=True),
            [
                Line("", what_if.alerts_per_day, what_if.cost_per_day),
                Line("", what_if.alerts_per_day[point], what_if.cost_per_day[point], style="", marker="o"),
            ],
        ),
        (
            "Calibration",
            "The twin on test, in bins of equal predicted fraud.",
            Axis("predicted probability", log=True),
            Axis("observed share of fraud", log=True),
            [
                Line("perfect", [1e-5, 1], [1e-5, 1], "faint", style="--"),
                Line("test", bins.predicted, [max(value, 1e-5) for value in bins.observed], marker="o"),
            ],
        ),
    ]
    return [Picture(title, chart(title, x, y, lines), caption) for title, caption, x, y, lines in drawn]
