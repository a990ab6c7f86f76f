"""Fills the templates of this folder; everything that is not marked as safe is escaped."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ml_project.policies import NEVER


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=figure, threshold=threshold, short=short)
    return environment


def render(template: str, **context: object) -> str:
    """A page.

    Parameters
    ----------
    template : str
        A file of this folder.
    """
    return _environment().get_template(template).render(**context)


def figure(value: float) -> str:
    """A number with a readable count of digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def threshold(value: float) -> str:
    """A threshold, or that there is none."""
    return "never" if value >= NEVER else f"{value:.5f}"


def short(value: str | float) -> str:
    """A number with six significant digits; other text unchanged."""
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return str(value)
