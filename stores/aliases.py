"""Which version an alias names where MLflow's own page writes it in lower case and its store tells cases apart."""

from collections.abc import Mapping
from typing import Final

PRODUCTION: Final = "Production"
CHALLENGER: Final = "Challenger"
PREVIOUS: Final = "Previous"
ALIASES: Final = (PRODUCTION, PREVIOUS, CHALLENGER)

MOVED_TAG: Final = "fraud.moved."
"""Registered-model tag, followed by an alias: the version that our own last move gave it."""


def spellings(aliases: Mapping[str, int], alias: str) -> dict[str, int]:
    """The aliases that are this one but for their case."""
    return {name: version for name, version in aliases.items() if name.lower() == alias.lower()}


def followed(aliases: Mapping[str, int], tags: Mapping[str, str], alias: str) -> int | None:
    """The version that an alias names, without regard to case; None where nothing does.

    Of several spellings that disagree, the one that differs from our own last move is somebody's newer move in MLflow's
    page; where that leaves a choice, the higher version.

    Parameters
    ----------
    aliases : mapping
        The registered model's aliases as MLflow holds them, and their versions.
    tags : mapping
        The registered model's tags.
    """
    versions = set(spellings(aliases, alias).values())
    ours = {value for name, value in tags.items() if name.lower() == (MOVED_TAG + alias).lower()}
    return max({version for version in versions if str(version) not in ours} or versions, default=None)
