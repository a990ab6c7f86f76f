"""Kept predictions as clients see them."""

from dataclasses import asdict
from typing import Any, Final

from ml_project.schema import RAW_FEATURES
from stores.decisions import Found, Label

_WORDS: Final = ("legitimate", "fraud")


def described(found: Found) -> dict[str, Any]:
    """A prediction with its newest label."""
    record = asdict(found.record)
    record["inputs"] = dict(zip(RAW_FEATURES, found.record.inputs, strict=True))
    return {
        **record,
        "label": None if found.label is None else label_described(found.label),
        "segment_id": found.segment_id,
        "spooled": found.spooled,
        "duplicate_of": found.duplicate_of,
        "conflicts_with": found.conflicts_with,
    }


def label_described(label: Label) -> dict[str, Any]:
    """A label in words."""
    return {
        "label": _WORDS[label.label],
        "labelled_at": label.labelled_at,
        "reviewer": label.reviewer,
        "source": label.source,
    }
