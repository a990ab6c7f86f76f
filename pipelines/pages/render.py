"""Fills the templates of this folder; everything that is not marked as safe is escaped.

Figures read by one rule, `ml_project.quantities`: a template names the figure, and gives the currency to the page.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup

from ml_project.metrics import Estimate
from ml_project.quantities import (
    counted,
    difference_interval,
    difference_text,
    figure_text,
    interval_text,
    money,
    rate,
    threshold_text,
)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=_figure,
        interval=_interval,
        difference=_difference,
        money=_money,
        count=counted,
        breakable=_breakable,
        rate=rate,
        threshold=threshold_text,
        short=short,
    )
    return environment


def render(template: str, **context: object) -> str:
    """A page.

    Parameters
    ----------
    template : str
        A file of this folder.
    **context
        What it shows; ``currency`` is that of its amounts.
    """
    return _environment().get_template(template).render(**context)


@pass_context
def _figure(context: Context, value: float, name: str, of: float | None = None) -> str:
    return figure_text(name, value, str(context.get("currency", "")), of)


@pass_context
def _interval(context: Context, found: Estimate | None, name: str) -> str:
    if found is None:
        return "-"
    shown = difference_interval if name.startswith("gain_") else interval_text
    return shown(name, found, str(context.get("currency", "")))


@pass_context
def _difference(context: Context, value: float, name: str) -> str:
    return difference_text(name, value, str(context.get("currency", "")))


@pass_context
def _money(context: Context, value: float) -> str:
    return money(value, str(context.get("currency", "")))


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(str(name).split("_"))


def short(value: str | float) -> str:
    """A number with six significant digits; other text unchanged."""
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return str(value)
