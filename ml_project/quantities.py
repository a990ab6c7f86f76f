"""Numbers, amounts, shares and spans of time as people read them: few digits, units, singular and plural."""

import math
from collections.abc import Callable
from typing import Final, Protocol

from ml_project.contract_parts import ContractField
from ml_project.history import minor_digits
from ml_project.policies import NEVER, Thresholds

_LARGE: Final = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_LARGEST: Final = 1e15
_SMALLEST: Final = 1e-4
_LEAST_PERCENT: Final = 0.1
_UNITS: Final = ((172_800.0, 86_400.0, "day"), (3_600.0, 3_600.0, "hour"), (60.0, 60.0, "minute"))
_CURRENCY_LETTERS: Final = 3


def number(value: float, digits: int = 2) -> str:
    """A finite number with so many significant digits, or all that stand before the point: 0.23, 5.2, 1,240."""
    size = abs(value)
    sign = "-" if value < 0 else ""
    if size >= _LARGEST:
        return f"{sign}over 1,000 trillion"
    for scale, word in _LARGE:
        if size >= scale:
            return f"{number(value / scale, 3)} {word}"
    if size < _SMALLEST:
        return "0" if size == 0 else f"{sign}less than {_SMALLEST:.4f}"
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def whole(value: float) -> str:
    """A count with all its digits, of millions the first ones."""
    return number(value, 6)


def percent(share: float) -> str:
    """A share, 0 to 1: 0.4 %, 41 %."""
    value = share * 100
    if 0 < value < _LEAST_PERCENT:
        return f"less than {_LEAST_PERCENT} %"
    if value < 10:
        return f"{number(round(value, 1))} %"
    nearly_all = math.floor(value * 10) / 10 if value < 100 else value
    return f"{number(nearly_all, 3 if value > 99 else 2)} %"


def span(seconds: float) -> str:
    """A length of time: 0.8 seconds, 1 minute, 21 hours, 12 days."""
    _least, size, unit = next((each for each in _UNITS if seconds >= each[0]), (0.0, 1.0, "second"))
    text = number(seconds / size)
    return f"{text} {unit if text == '1' else f'{unit}s'}"


def in_unit(field: ContractField, value: float) -> str:
    """A field's value, or a sum or mean of them, in its unit: EUR 57.16, 3.2 km."""
    if field.role == "amount":
        value, digits = value / 10**field.decimals, field.decimals or minor_digits(field)
        text = f"{value:,.{digits}f}" if abs(value) < _LARGE[-1][0] else number(value)
    else:
        text = number(value, 4)
    if not field.unit:
        return text
    currency = len(field.unit) == _CURRENCY_LETTERS and field.unit.isalpha() and field.unit.isupper()
    return f"{field.unit} {text}" if currency else f"{text} {field.unit}"


def plural(noun: str) -> str:
    """A noun for several: terminals, countries, addresses."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")) else f"{noun}s"


_SYMBOLS: Final = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}
FEW: Final = 20
"""Of fewer a share is told as a count: 0 % of two says too much."""


def ratio(value: float) -> str:
    """A figure without a unit, such as an average precision, a score or a PSI: 0.590."""
    return f"{value:,.3f}"


def rate(share: float, of: float | None = None) -> str:
    """A share, 0 to 1, as a figure of a report: 85.0 %, 0.55 %; of few, 0 of 2.

    What is not 0 never reads as 0 %, and what is not all never as 100 %.

    Parameters
    ----------
    of : float, optional
        How many there are, where that is known.
    """
    if of is not None and of < FEW:
        return f"{share * of:.0f} of {of:.0f}"
    value = share * 100
    if value in (0, 100):
        return f"{value:.0f} %"
    if 0 < value < 1e-4:
        return "< 0.0001 %"
    if 0 < value < 0.1:
        return f"{f'{value:.4f}'.rstrip('0')} %"
    return f"{value:,.{3 if 99.9 < value < 100 else 2 if 0 < value < 1 else 1}f} %"


def currency_mark(currency: str) -> str:
    """What stands before a sum in a currency, by its ISO 4217 code: € or CHF and a space."""
    return _SYMBOLS.get(currency, f"{currency} " if currency else "")


def money(value: float, currency: str) -> str:
    """A sum of amounts in a currency: €57.16, €11,200, CHF 1,200."""
    # of hundreds and more cents say nothing
    return f"{'-' if value < 0 else ''}{currency_mark(currency)}{abs(value):,.{0 if abs(value) >= 100 else 2}f}"


def threshold_text(score: float) -> str:
    """A threshold of scores with three digits, as the page shows it: 0.302, or never."""
    return "never" if score >= NEVER else _with_short_power(f"{score:#.3g}")


def difference_of_scores(value: float) -> str:
    """How far two programs' scores are apart, which is mostly next to nothing: 6.8e-7, 0."""
    return _with_short_power(f"{value:.2g}")


def _with_short_power(text: str) -> str:
    return text.replace("e-0", "e-")


def thresholds_text(thresholds: Thresholds) -> str:
    """Both thresholds in words: alert from 0.302, decline from 0.890."""
    alert, decline = map(threshold_text, (thresholds.alert, thresholds.decline))
    return f"alert from {alert}, decline {'never' if decline == 'never' else f'from {decline}'}"


def counted(value: float) -> str:
    """A count, or a mean count per day, which may have a fraction: 12,340, 7.5."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.1f}"


_SIDES: Final = ("test_", "forward_", "expected_", "challenger_", "champion_", "gain_", "difference_")
_SHARES: Final = ("precision", "recall", "missing", "other", "out_of_range", "skew", "value_skew", "savings")


def figure_text(name: str, value: float, currency: str = "", of: float | None = None) -> str:
    """A figure by its name as everything shows it: the rule of decimals, money, percentages and counts in one place.

    Parameters
    ----------
    name : str
        As in MLflow: ``average_precision``, ``test_recall``, ``cost_per_day``.
    of : float, optional
        Of a share: how many there are of which it is one.
    """
    if not math.isfinite(value):
        return "-"
    kind = _kind(name)
    if kind is rate:
        return rate(value, of)
    if kind is money:
        return money(value, currency)
    if name.endswith("_ms"):
        return f"{number(value, 3)} ms"
    if kind is counted:
        # a mean has a fraction, also where it happens to be whole
        return f"{value:.1f}" if name.endswith("per_day") and abs(value) < 100 else counted(value)
    return ratio(value)


class Interval(Protocol):
    """A figure with the ends of its 95 % interval."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def low(self) -> float:
        """The interval's lower end."""

    @property
    def high(self) -> float:
        """Its upper end."""


def interval_text(name: str, found: Interval, currency: str = "", of: float | None = None) -> str:
    """A figure with its interval: 85.0 % [78.1, 90.2], of few 1 of 2 [0 %, 100 %]; see `figure_text`."""
    low, high = (figure_text(name, each, currency) for each in (found.low, found.high))
    return f"{figure_text(name, found.value, currency, of)} {_within(low, high, said_before=of is None or of >= FEW)}"


def difference_interval(name: str, found: Interval, currency: str = "") -> str:
    """A difference with its interval: +2.5 pts [-1.0, +6.1]."""
    value, low, high = (difference_text(name, each, currency) for each in (found.value, found.low, found.high))
    return f"{value} {_within(low, high)}"


_UNITS_OF_FIGURES: Final = (" %", " pts", " ms")


def _within(low: str, high: str, *, said_before: bool = True) -> str:
    for unit in _UNITS_OF_FIGURES if said_before else ():
        low, high = low.removesuffix(unit), high.removesuffix(unit)
    return f"[{low}, {high}]"


def span_of(low: str, high: str) -> str:
    """From one figure to another, with a unit that both have said once: 78.1 to 90.2 %."""
    for unit in _UNITS_OF_FIGURES:
        if low.endswith(unit) and high.endswith(unit):
            return f"{low.removesuffix(unit)} to {high}"
    return f"{low} to {high}"


def difference_text(name: str, value: float, currency: str = "") -> str:
    """A difference of two figures with its sign; of percentages in points: +2.5 pts."""
    sign = "-" if value < 0 else "+"
    if _kind(name) is rate:
        return f"{sign}{abs(value) * 100:.1f} pts"
    return f"{sign}{figure_text(name, abs(value), currency)}"


def _kind(name: str) -> Callable[..., str]:
    for side in _SIDES:
        name = name.removeprefix(side)
    if name.startswith("cost"):
        return money
    if name.endswith(("rows", "frauds", "decisions", "per_day")):
        return counted
    if name.startswith(_SHARES) or name.endswith(("share", "coverage", "agreement")):
        return rate
    return ratio
