"""Numbers, amounts, shares and spans of time as people read them: few digits, units, singular and plural."""

import math
from typing import Final

from ml_project.contract_parts import ContractField
from ml_project.history import minor_digits

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
