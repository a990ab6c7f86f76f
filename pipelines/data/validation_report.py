"""What a validation measured and found: weighted figures of the data, and one row per expectation.

Expectations on columns count rows. Where legitimate rows were sampled, rates and means must count by weight, so they
are computed here and validated as a separate table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.contract_file import FOLDER
from ml_project.dataset import file_moments, span_in_days
from pipelines.console import Table
from pipelines.pages.render import render

_LONGEST: Final = 100

_EXPECTED: Final = {
    "expect_table_columns_to_match_ordered_list": "the contract's columns, in order",
    "expect_table_row_count_to_be_between": "number of rows",
    "expect_compound_columns_to_be_unique": "no row twice",
    "expect_column_values_to_not_be_null": "no missing value",
    "expect_column_min_to_be_between": "smallest value",
    "expect_column_max_to_be_between": "largest value",
    "expect_column_values_to_be_in_set": "known values only",
}
_FIGURES: Final = {
    "days": "days from first to last row",
    "rows_per_day": "rows a day",
    "frauds": "number of frauds",
    "fraud_rate": "share of frauds",
    "mean_shift_": "mean close to the reference, in its standard deviations",
    "spread_": "spread close to the reference, as a ratio",
}
"""What is expected, in words: by Great Expectations' name of it, and of weighted figures by their column."""


@dataclass(frozen=True)
class ExpectationResult:
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

    @property
    def words(self) -> str:
        """What is expected, in words."""
        if self.suite == "weighted":
            named = (words for start, words in _FIGURES.items() if self.column.startswith(start))
            return next(named, "weighted figure within its limits")
        return _EXPECTED.get(self.expectation, self.expectation.removeprefix("expect_").replace("_", " "))


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of a validation.

    Attributes
    ----------
    checks : tuple of ExpectationResult
        In the suite's order.
    figures : dict of str to float
        Weighted figures of the data (see `summarise`).
    docs : Path
        The page of the results.
    """

    checks: tuple[ExpectationResult, ...]
    figures: dict[str, float]
    docs: Path

    @property
    def failures(self) -> tuple[ExpectationResult, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.success)

    @property
    def success(self) -> bool:
        """Whether the data may be trained on."""
        return not self.failures

    def to_table(self) -> Table:
        """The failures, for a terminal."""
        columns = ("column", "expectation", "observed", "limit")
        table = Table(columns, folding=columns[1:], title="Validation failed" if self.failures else "")
        for check in self.failures:
            table.add_row(check.column or "(whole table)", check.words, check.observed, check.limit)
        return table

    def page(self, data: str, contract: str, facts: Mapping[str, str], suite: str) -> str:
        """The results as HTML that loads nothing from elsewhere: what failed first, then all, by kind.

        Parameters
        ----------
        facts : mapping
            What is said of the data, by name.
        suite : str
            Name of the suite's file beside the page.
        """
        kinds = dict.fromkeys(check.words for check in self.checks)
        return render(
            "validation.html",
            title=f"Validation of {data}",
            data=data,
            contract=contract,
            facts=facts,
            checks=self.checks,
            failures=self.failures,
            groups=[(kind, [check for check in self.checks if check.words == kind]) for kind in kinds],
            suite=suite,
        )


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


@dataclass(frozen=True)
class Reference:
    """Weighted mean and standard deviation of each compared field in the reference data of a contract.

    Time is not compared: it restarts with every extract.
    """

    mean: dict[str, float]
    std: dict[str, float]

    @classmethod
    def of(cls, contract: Contract) -> "Reference":
        """What comes with the platform's own contracts; of others nothing is known before they have trained.

        The public table's is a sample of its first 80 %, weighted.
        """
        path = FOLDER / f"{contract.contract}.reference.json"
        found = cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls({}, {})
        return found if found.mean.keys() <= set(contract.raw_fields) else cls({}, {})


STRAYS: Final = 0.01
"""Share of the rows whose times may be long before the rest, where they harm nothing: the span begins after them. At
the end, where test rows are, one stray row is enough to make every count per day meaningless."""


def summarise(frame: pd.DataFrame, contract: Contract, reference: Reference) -> dict[str, float]:
    """Figures of a table, by weight; see `figures_of`. Those whose column is missing or not a number are left out."""
    label = contract.label_field
    columns = [column for column in (label, *reference.mean) if _is_number(frame, column)]
    frauds = float((frame[label] == 1).sum()) if label in columns else 0.0
    moments = {column: _moments(frame, contract, column) for column in columns}
    return figures_of(contract, len(frame), frauds, moments, _pace(frame, contract), reference)


@dataclass(frozen=True)
class Pace:
    """How many rows, by weight, the data have in how many seconds."""

    weight: float
    seconds: float

    @property
    def figures(self) -> dict[str, float]:
        """``days`` and ``rows_per_day``."""
        days = span_in_days(0.0, self.seconds)
        return {"days": days, "rows_per_day": self.weight / days}


def figures_of(
    contract: Contract,
    rows: int,
    frauds: float,
    moments: dict[str, tuple[float, float]],
    pace: Pace | None,
    reference: Reference,
) -> dict[str, float]:
    """Figures from weighted means and standard deviations, however they were computed.

    Returns
    -------
    dict of str to float
        ``rows`` and ``frauds`` (unweighted), ``fraud_rate``, ``days`` and ``rows_per_day`` (see ``STRAYS``), and for
        every compared field ``mean_shift_*`` (difference of means in reference standard deviations) and ``spread_*``
        (ratio of standard deviations: the components' means are near 0, so that a wrong scale would not show in them).
    """
    figures: dict[str, float] = {"rows": float(rows)}
    if pace is not None:
        figures |= pace.figures
    if contract.label_field in moments:
        figures |= {"frauds": frauds, "fraud_rate": moments[contract.label_field][0]}
    for column in reference.mean:
        if column in moments:
            mean, std = moments[column]
            figures[f"mean_shift_{column}"] = (mean - reference.mean[column]) / reference.std[column]
            figures[f"spread_{column}"] = std / reference.std[column]
    return figures


def _is_number(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and pd.api.types.is_numeric_dtype(frame[column])


def _pace(frame: pd.DataFrame, contract: Contract) -> Pace | None:
    if contract.event_time in frame:
        seconds = frame[contract.event_time].astype("datetime64[ns, UTC]").astype("int64").to_numpy() / 1e9
    elif contract.time is None:
        seconds = file_moments(len(frame))
    elif _is_number(frame, contract.time):
        seconds = frame[contract.time].to_numpy(np.float64)
    else:
        return None
    weighted = _is_number(frame, contract.weight)
    weight = float(frame[contract.weight].sum()) if weighted else float(len(frame))
    if not len(frame) or not np.isfinite(seconds).all():
        return Pace(weight, np.nan)
    return Pace(weight, float(seconds.max() - np.quantile(seconds, STRAYS, method="inverted_cdf")))


def _moments(frame: pd.DataFrame, contract: Contract, column: str) -> tuple[float, float]:
    weighted = _is_number(frame, contract.weight)
    weight: NDArray[np.float64] = frame[contract.weight].to_numpy(np.float64) if weighted else np.ones(len(frame))
    values = frame[column].to_numpy(np.float64)
    total = weight.sum()
    if total <= 0 or not np.isfinite(values).all():
        return np.nan, np.nan
    mean = float(values @ weight / total)
    return mean, float(np.sqrt((values - mean) ** 2 @ weight / total))
