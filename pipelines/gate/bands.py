"""Slices: no band of amounts or hours may be clearly worse off than under the champion."""

from ml_project.metrics import paired_difference, slices
from pipelines.gate.evidence import Evidence
from pipelines.gate.limits import GateLimits
from pipelines.gate.report import Check, Theme

_MEANING = "Average precision within the band, candidate minus champion, on rows that neither has seen."


def slice_checks(limits: GateLimits, evidence: Evidence, seed: int) -> list[Check]:
    """One row per band; none without a comparison."""
    comparison = evidence.comparison
    if comparison is None:
        return []
    bands = slices(comparison.rows, limits.amount_bands, limits.hour_bands)
    judged = {
        name for name, chosen in bands.items() if comparison.rows.take(chosen).frauds >= limits.slice_minimum_frauds
    }
    checks = []
    for name, chosen in bands.items():
        rows = comparison.rows.take(chosen)
        if name not in judged:
            checks.append(_too_few(limits, name, rows.frauds))
            continue
        gain = paired_difference(
            rows,
            comparison.candidate.hybrid[chosen],
            comparison.champion.hybrid[chosen],
            replicates=limits.replicates,
            seed=seed,
            # so many looks at once: each interval is wider, so that all of them hold together at 95 % (Bonferroni)
            confidence=1 - 0.05 / len(judged),
        )["average_precision"]
        checks.append(
            Check(
                name,
                f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] on {rows.frauds} frauds",
                f"not clearly below {-limits.slice_margin:+.2f}",
                not (gain.value < -limits.slice_margin and gain.high < 0),
                _MEANING,
                figures={
                    "difference": gain.value,
                    "low": gain.low,
                    "high": gain.high,
                    "lowest": -limits.slice_margin,
                    "frauds": rows.frauds,
                },
                theme=Theme.SLICES,
            )
        )
    return checks


def _too_few(limits: GateLimits, name: str, frauds: int) -> Check:
    return Check(
        name,
        f"{frauds} frauds",
        f"judged from {limits.slice_minimum_frauds} frauds on",
        passed=True,
        meaning=_MEANING,
        judged=False,
        figures={"frauds": frauds},
        theme=Theme.SLICES,
    )
