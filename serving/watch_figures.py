"""Figures of a window out of what the decision store counted and sampled."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml_project.baseline import WATCHED
from ml_project.drift import compare, limit_of
from ml_project.features import compute_features
from ml_project.scorer import Decision
from ml_project.statistics import weighted_quantile
from serving.live_model import LiveModel
from serving.watch_answer import Bucket, FeatureDrift, Labels, Quantiles, ReviewSample, Shadow, WindowDrift
from stores.decisions.dashboard import Outcome, Sample, Shadowed, Slice, received_at

_DAY_HOURS = 24
_NO_LIMIT = 0.01
"""Significance where a card names none; it changes no figure that is shown then."""


def buckets(slices: Sequence[Slice], outcomes: Sequence[Outcome]) -> list[Bucket]:
    """Slices with their labels."""
    starts = np.array([each.since.timestamp() for each in slices])
    said: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        place = int(np.searchsorted(starts, received_at(outcome.prediction_id), side="right")) - 1
        said[max(place, 0)].append(outcome)
    return [_bucket(each, labels(said[place])) for place, each in enumerate(slices)]


def labels(outcomes: Sequence[Outcome]) -> Labels:
    """How many of each kind."""
    alerts = [outcome.label for outcome in outcomes if outcome.decision != Decision.APPROVE]
    approved = [outcome.label for outcome in outcomes if outcome.decision == Decision.APPROVE]
    return Labels(
        alerts_labelled=len(alerts),
        alerts_fraud=sum(alerts),
        approved_labelled=len(approved),
        approved_fraud=sum(approved),
    )


def review_sample(slices: Sequence[Slice], outcomes: Sequence[Outcome]) -> ReviewSample:
    """What the random sample says of approvals (Horvitz and Thompson, 1952)."""
    mine = [each for each in outcomes if each.decision == Decision.APPROVE and each.review_rate]
    missed = sum(each.label / each.review_rate for each in mine if each.review_rate)
    return ReviewSample(
        drawn=sum(each.drawn for each in slices),
        labelled=len(mine),
        frauds=sum(each.label for each in mine),
        missed_frauds=missed if mine else None,
    )


def drift(slices: Sequence[Slice], model: LiveModel, hours: float) -> WindowDrift | None:
    """How far what the model decided is from its baseline, the furthest figure first."""
    parts = [(sample, _of(sample, model)) for each in slices for sample in each.samples]
    rows = sum(int(mine.sum()) for _sample, mine in parts)
    if not rows:
        return None
    raw = np.concatenate([sample.raw[mine] for sample, mine in parts])
    hybrid = np.concatenate([sample.hybrid[mine] for sample, mine in parts])
    weight = np.concatenate([sample.weight[mine] for sample, mine in parts])
    manifest = model.scorer.bundle.manifest
    limits = model.card.drift_limits if model.card else None
    significance = limits.significance(len(WATCHED)) if limits else _NO_LIMIT
    features = compute_features(raw, manifest.amount)
    found = compare(manifest.drift_baseline, manifest.statistics, features, hybrid, weight, significance)
    comparable = manifest.drift_baseline.hourly or hours >= _DAY_HOURS
    judged = limits is not None and comparable and min(each.rows for each in found) >= limits.minimum_rows
    figures = []
    for each in found:
        high = None if limits is None else limit_of(each.psi, limits.psi)
        breached = judged and high is not None and each.psi.value > high
        figures.append(
            FeatureDrift(name=each.name, psi=each.psi.value, limit=high, breached=breached, missing=each.missing)
        )
    return WindowDrift(rows=rows, judged=judged, features=sorted(figures, key=lambda figure: -figure.psi))


def shadows(found: Sequence[Shadowed]) -> list[Shadow]:
    """Challengers, one by one."""
    sums: dict[str, dict[str, int]] = {}
    for each in found:
        mine, other = each.decision != Decision.APPROVE, each.challenger_decision != Decision.APPROVE
        counted = sums.setdefault(each.model_version, defaultdict(int))
        counted["rows"] += each.rows
        counted["agree"] += each.rows * (each.decision == each.challenger_decision)
        counted["alerts_both"] += each.rows * (mine and other)
        counted["alerts_champion_only"] += each.rows * (mine and not other)
        counted["alerts_challenger_only"] += each.rows * (other and not mine)
    return [Shadow(model_version=version, **counted) for version, counted in sorted(sums.items())]


def _bucket(each: Slice, said: Labels) -> Bucket:
    return Bucket(
        since=each.since,
        decisions={str(name): each.decisions.get(name, 0) for name in Decision},
        score=_quantiles([(sample.hybrid, sample.weight) for sample in each.samples]),
        latency_ms=_quantiles(
            [(sample.latency_ms[sample.single], sample.weight[sample.single]) for sample in each.samples]
        ),
        labels=said,
    )


def _quantiles(parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Quantiles | None:
    if not sum(len(values) for values, _weight in parts):
        return None
    values, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    p50, p90, p99 = weighted_quantile(values, weight, [0.5, 0.9, 0.99]).tolist()
    return Quantiles(p50=p50, p90=p90, p99=p99)


def _of(sample: Sample, model: LiveModel) -> NDArray[np.bool_]:
    return np.array([digest == model.live.digest for digest in sample.digests], dtype=np.bool_)
