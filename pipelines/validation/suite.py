"""The suite as data: which expectations, with which limits.

``suite.json`` has one list for the table (``transactions``) and one for its weighted figures (``weighted``). An entry
with ``columns`` stands for one expectation per column; ``@name`` stands for a group of columns, so that no list of
28 names needs to be kept.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ml_project.cleaning import CLEAN_COLUMNS
from ml_project.errors import InvalidInput
from ml_project.schema import EVENT_TIME, PCA_COMPONENTS, WEIGHT
from pipelines.validation.summary import COMPARED

SUITE_FILE: Final = Path(__file__).with_name("suite.json")


@dataclass(frozen=True)
class Expectation:
    """One expectation in Great Expectations' own words: its snake_case type and its arguments."""

    type: str
    kwargs: dict[str, Any]


def load_suite(path: Path = SUITE_FILE, *, event_time: bool = False) -> dict[str, list[Expectation]]:
    """Expectations by suite name; ``event_time`` says whether the data has that optional column.

    Raises
    ------
    InvalidInput
        If the file is not a suite.
    """
    clean = [*CLEAN_COLUMNS, EVENT_TIME] if event_time else [*CLEAN_COLUMNS]
    groups = {
        "@clean": clean,
        "@identity": [column for column in clean if column != WEIGHT],
        "@components": [*PCA_COMPONENTS],
        "@mean_shifts": [f"mean_shift_{column}" for column in COMPARED],
        "@spreads": [f"spread_{column}" for column in COMPARED],
    }
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: [expectation for entry in content[name] for expectation in _expand(entry, groups)]
            for name in ("transactions", "weighted")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path}: not a validation suite ({error!r}).", f"See {SUITE_FILE.name} for one.") from error


def _expand(entry: dict[str, Any], groups: dict[str, list[str]]) -> list[Expectation]:
    kwargs = {
        key: groups[value] if isinstance(value, str) and value.startswith("@") else value
        for key, value in entry.get("kwargs", {}).items()
    }
    if "columns" not in entry:
        return [Expectation(entry["type"], kwargs)]
    columns = groups[entry["columns"]] if isinstance(entry["columns"], str) else entry["columns"]
    return [Expectation(entry["type"], {"column": column, **kwargs}) for column in columns]
