"""Kept predictions as clients see them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from ml_project.schema import RAW_FEATURES
from serving.live_model import LiveModel
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


def explained(items: Sequence[Found], model: LiveModel | None) -> list[Found]:
    """The same, what goes to review with reasons: those kept, or what the version that decided says if it is live."""
    silent = [
        place
        for place, found in enumerate(items)
        if found.record.review_rate is not None
        and found.record.reasons is None
        and model is not None
        and found.record.bundle_digest == model.live.digest
    ]
    said = list(items)
    if model is None or not silent:
        return said
    records = [items[place].record for place in silent]
    raw = np.array([record.inputs for record in records])
    isolation = np.array([record.isolation_score for record in records])
    for place, record, explanation in zip(silent, records, model.explainer.explain(raw, isolation), strict=True):
        reasons = [dict(reason) for reason in explanation.reasons]
        said[place] = replace(items[place], record=replace(record, reasons=reasons))
    return said


def label_described(label: Label) -> dict[str, Any]:
    """A label in words."""
    return {
        "label": _WORDS[label.label],
        "labelled_at": label.labelled_at,
        "reviewer": label.reviewer,
        "source": label.source,
    }
