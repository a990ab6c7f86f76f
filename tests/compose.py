"""docker/compose.yaml as the tests read it: parsed, with secrets put in where it asks for them."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docker"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def secret_names() -> list[str]:
    """What docker/example.env leaves to be filled."""
    return re.findall(r"^(\w+)=$", (FOLDER / "example.env").read_text(), re.MULTILINE)


def variables(text: str) -> dict[str, str | None]:
    """Every variable of a text: its default, or None where it must be given."""
    return {name: default if kind == "-" else None for name, kind, default in _VARIABLE.findall(text)}


def compose(values: dict[str, str] | None = None) -> Any:
    """The file's content; with values, these stand in the place of the variables."""
    text = (FOLDER / "compose.yaml").read_text()
    if values is not None:
        given = values
        text = _VARIABLE.sub(lambda found: given[found[1]] if found[1] in given else found[3], text)
    return yaml.safe_load(text)
