"""Blocks for people: a page with a curve per figure, and a table for a terminal."""

from dataclasses import dataclass

from rich.table import Table

from ml_project.metrics import Estimate
from pipelines.pages.charts import Axis, Line, chart
from pipelines.pages.model_curves import Picture
from pipelines.pages.render import figure, render
from pipelines.settings import PipelineSettings

WORDS = {
    "average_precision": "average precision",
    "precision_at_budget": "precision at the alert budget",
    "recall_at_budget": "recall at the alert budget",
    "cost_per_day": "cost a day",
}


@dataclass(frozen=True)
class Block:
    """A block of history: what was known before it, what it held, and how it was scored."""

    number: int
    known_rows: int
    known_frauds: int
    rows: int
    frauds: int
    figures: dict[str, Estimate]


def prequential_page(replayed: list[Block], label_delay: float, settings: PipelineSettings) -> str:
    """HTML, with nothing that another server would have to give."""
    return render(
        "prequential.html",
        title="Prequential validation",
        blocks=replayed,
        words=WORDS,
        label_delay=label_delay,
        alerts_per_day=settings.alerts_per_day,
        review_cost=settings.review_cost,
        figures=[_picture(replayed, name) for name in WORDS],
    )


def _picture(replayed: list[Block], name: str) -> Picture:
    places = [block.number for block in replayed]
    figures = [block.figures[name] for block in replayed]
    lines = [Line("", [place, place], [f.low, f.high], "faint") for place, f in zip(places, figures, strict=True)]
    lines.append(Line("", places, [f.value for f in figures], marker="o"))
    limits = None if name == "cost_per_day" else (0.0, 1.02)
    svg = chart(WORDS[name], Axis("block", ticks=tuple(map(str, places))), Axis(WORDS[name], limits=limits), lines)
    return Picture(WORDS[name], svg, "With 95 % intervals.")


def prequential_table(replayed: list[Block]) -> Table:
    """A row per block."""
    table = Table("block", "frauds", "learnt from", *WORDS.values())
    for block in replayed:
        cells = [f"{figure(f.value)}\n[dim]{figure(f.low)} to {figure(f.high)}[/dim]" for f in block.figures.values()]
        table.add_row(str(block.number), str(block.frauds), f"{block.known_frauds} frauds", *cells)
    return table
