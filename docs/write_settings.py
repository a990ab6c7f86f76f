"""Writes the tables of docs/settings.md from the settings classes; `make docs` runs it, and a test compares.

Run: PYTHONPATH=. python docs/write_settings.py
"""

import re
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from pipelines.settings import PipelineSettings
from serving.settings import GatewaySettings
from stores.settings import PlatformSettings, variables

PAGE = Path(__file__).with_name("settings.md")
TABLES: dict[str, type[BaseSettings]] = {
    "shared": PlatformSettings,
    "pipelines": PipelineSettings,
    "serving": GatewaySettings,
}


def written(page: str) -> str:
    """The page with its tables as the classes say; what stands between the tables stays.

    Raises
    ------
    ValueError
        When the marks of a table are missing.
    """
    for name, settings in TABLES.items():
        begin, end = f"<!-- settings of {name} -->\n", f"<!-- end of {name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"{PAGE.name} lacks the marks {begin!r} and {end!r}")
        page = f"{before}{begin}{_table(settings)}{end}{after}"
    return page


def _table(settings: type[BaseSettings]) -> str:
    shared = () if settings is PlatformSettings else PlatformSettings.model_fields
    rows = [_row(settings, name) for name in settings.model_fields if name not in shared]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _row(settings: type[BaseSettings], name: str) -> str:
    field = settings.model_fields[name]
    names = ", ".join(f"`{variable}`" for variable in variables(settings, name))
    secret = " *Secret.*" if "SecretStr" in str(field.annotation) else ""
    return f"| {names} | {_default(field)} | {_marked(field.description or '')}{secret} |"


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return str(extra["default"])
    value = field.default
    if isinstance(value, SecretStr) or value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(PAGE.parents[1])
    return f"`{value}`"


def _marked(text: str) -> str:
    """Variables and addresses in a description as code, unless they are already."""
    pieces = re.split(r"(`[^`]*`)", text)
    address = re.compile(
        r"\b(?:FRAUD_[A-Z0-9_]+|(?:s3|http|https|redis|sqlite|postgresql|spark)://[^\s,;)]*[^\s,;.:)])"
    )
    return "".join(p if p.startswith("`") else address.sub(r"`\g<0>`", p) for p in pieces).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
