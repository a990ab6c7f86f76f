"""What a validation found, in our own words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

_LONGEST: Final = 100


@dataclass(frozen=True)
class Check:
    """One expectation and what came of it.

    Attributes
    ----------
    suite : str
        ``transactions`` or ``weighted``.
    expectation : str
        Great Expectations' name of it.
    column : str
        Empty where the whole table is meant.
    observed, limit : str
        What was found, and what is allowed.
    """

    suite: str
    expectation: str
    column: str
    observed: str
    limit: str
    success: bool


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of a validation.

    Attributes
    ----------
    checks : tuple of Check
        In the suite's order.
    figures : dict of str to float
        Weighted figures of the data (see ``summary.summarise``).
    docs : Path
        The first page of the Data Docs.
    """

    checks: tuple[Check, ...]
    figures: dict[str, float]
    docs: Path

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.success)

    @property
    def success(self) -> bool:
        """Whether the data may be trained on."""
        return not self.failures

    def to_table(self) -> Table:
        """The failures, for a terminal."""
        table = Table("Expectation", "Column", "Observed", "Limit", title="Validation failed" if self.failures else "")
        for check in self.failures:
            table.add_row(check.expectation, check.column, check.observed, check.limit)
        return table


def describe_observed(kwargs: Mapping[str, Any], result: Mapping[str, Any], exception_info: Mapping[str, Any]) -> str:
    """What an expectation saw, in a few words: a value, the offending rows, or why it could not look."""
    if not result:
        # One entry per metric that failed, or the exception itself.
        errors = [exception_info, *(entry for entry in exception_info.values() if isinstance(entry, Mapping))]
        messages = [str(error["exception_message"]) for error in errors if error.get("exception_message")]
        return _short(messages[0].removeprefix("Error: ") if messages else "not computed")
    observed = result.get("observed_value")
    if isinstance(observed, list):
        return _difference(kwargs.get("column_list", []), observed)
    if observed is not None:
        return f"{observed:.6g}" if isinstance(observed, float) else _short(str(observed))
    if "unexpected_count" not in result:
        return "no value"
    count = int(result["unexpected_count"])
    examples = [each for each in result.get("partial_unexpected_list", ()) if not isinstance(each, Mapping | None)]
    return _short(f"{count} row{'' if count == 1 else 's'}" + (f": {examples[:3]}" if examples else ""))


def describe_limit(kwargs: Mapping[str, Any]) -> str:
    """What an expectation allows, in a few words."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    parts = []
    if low is not None:
        parts.append(f"{'>' if kwargs.get('strict_min') else '≥'} {low:g}")
    if high is not None:
        parts.append(f"{'<' if kwargs.get('strict_max') else '≤'} {high:g}")
    if "value_set" in kwargs:
        parts.append(f"one of {kwargs['value_set']}")
    if "column_list" in kwargs:
        parts.append(f"{len(kwargs['column_list'])} columns, {kwargs['column_list'][0]} to {kwargs['column_list'][-1]}")
    return ", ".join(parts)


def _difference(expected: list[str], observed: list[str]) -> str:
    missing = [column for column in expected if column not in observed]
    unknown = [column for column in observed if column not in expected]
    found = [f"missing {', '.join(missing)}"] if missing else []
    found += [f"unknown {', '.join(unknown)}"] if unknown else []
    if not found and observed != expected:
        found = ["another order"]
    return _short("; ".join(found) or "all of them")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
