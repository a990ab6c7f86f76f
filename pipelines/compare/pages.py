"""A comparison for people: a page, and a table for a terminal."""

from rich.table import Table

from pipelines.card.words import FIGURES
from pipelines.compare.comparison import Comparison
from pipelines.pages.model_curves import Picture, Side, curves
from pipelines.pages.render import figure, render, short, threshold
from pipelines.settings import PipelineSettings

WORDS = {**FIGURES, "savings": "savings, as a share of all fraud"}


def comparison_page(comparison: Comparison, settings: PipelineSettings) -> str:
    """HTML, with nothing that another server would have to give."""
    first, second = comparison.versions
    return render(
        "compare.html",
        title=f"{settings.model_name}: {first.number} and {second.number}",
        model_name=settings.model_name,
        comparison=comparison,
        words=WORDS,
        figures=_pictures(comparison, settings),
    )


def _pictures(comparison: Comparison, settings: PipelineSettings) -> list[Picture]:
    paired = comparison.paired
    if paired is None:
        return []
    sides = [
        Side(f"version {version.number}", scores, version.twin_thresholds.alert if version.twin_thresholds else 2.0)
        for version, scores in zip(comparison.versions, paired.scores, strict=True)
    ]
    return curves(paired.rows, sides, settings.review_cost)


def comparison_table(comparison: Comparison) -> Table:
    """Figures, paired differences, thresholds and the parameters that differ."""
    first, second = comparison.versions
    table = Table("", f"version {first.number}", f"version {second.number}", "difference on common rows")
    differences = comparison.paired.differences if comparison.paired else {}
    for name in {**comparison.figures, **differences}:
        pair = comparison.figures.get(name, (None, None))
        cells = [f"{figure(f.value)}\n[dim]{figure(f.low)} to {figure(f.high)}[/dim]" if f else "" for f in pair]
        gain = differences.get(name)
        table.add_row(WORDS[name], *cells, f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain else "")
    table.add_section()
    for name, limits in comparison.thresholds.items():
        used = [name == version.shipped.manifest.policy for version in comparison.versions]
        cells = [
            (f"{threshold(t.alert)} / {threshold(t.decline)}" if t else "") + (" in use" if use else "")
            for t, use in zip(limits, used, strict=True)
        ]
        table.add_row(f"{name}: alert / decline", *cells, "")
    table.add_section()
    for name, values in comparison.differing.items():
        table.add_row(name, *map(short, values), "")
    return table
