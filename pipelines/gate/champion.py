"""The candidate against the champion: paired bootstrap of average precision and cost on rows that neither has seen."""

from ml_project.metrics import Estimate, losses, paired_difference, paired_savings
from pipelines.gate.evidence import Champion, Comparison, Evidence, simulated_after_real
from pipelines.gate.limits import GateLimits
from pipelines.gate.report import Check, Theme


def champion_checks(limits: GateLimits, evidence: Evidence, seed: int) -> list[Check]:
    """One row where there is no champion."""
    champion = evidence.champion
    if champion is None:
        return [
            Check(
                "not worse than the champion",
                "no champion yet",
                "-",
                passed=True,
                meaning="There is no Production to compare with.",
                judged=False,
                theme=Theme.CHAMPION,
            )
        ]
    return [_real_beats_simulated(evidence, champion), *_comparisons(limits, evidence, champion, seed)]


def _real_beats_simulated(evidence: Evidence, champion: Champion) -> Check:
    return Check(
        "real beats simulated",
        f"{evidence.source} after {champion.source or 'unknown'}",
        "never simulated after real",
        not simulated_after_real(evidence.source, champion.source),
        "A model trained on simulated transactions must not replace one trained on real ones, not even by force.",
        theme=Theme.CHAMPION,
        forceable=False,
    )


def _comparisons(limits: GateLimits, evidence: Evidence, champion: Champion, seed: int) -> list[Check]:
    name = f"average precision against version {champion.number}"
    meaning = (
        "Both evaluation twins on rows that neither has seen, on the same bootstrap replicates; above 0 the candidate "
        "is better."
    )
    if champion.twin is None:
        return [
            Check(
                name,
                "the champion's run holds no evaluation twin",
                "a twin to compare with",
                passed=False,
                meaning="Somebody registered the champion by hand, so nothing shows that the candidate is not worse. "
                "A person can decide to promote all the same, with a reason.",
                theme=Theme.CHAMPION,
            )
        ]
    comparison, frauds = evidence.comparison, evidence.test.take(evidence.unseen).frauds
    if comparison is None or frauds < limits.minimum_frauds:
        return [
            Check(
                name,
                f"{frauds} frauds that neither has seen",
                f">= {limits.minimum_frauds} frauds",
                passed=False,
                meaning="The comparison would say nothing: bring later rows.",
                figures={"frauds": frauds},
                theme=Theme.CHAMPION,
            )
        ]
    savings = _savings(limits, evidence, comparison, seed)
    return [
        _same_trees(name, frauds)
        if evidence.same_trees
        else _interval(
            name,
            _ranking(limits, comparison, seed),
            limits.average_precision_margin,
            "average_precision" in limits.superiority,
            frauds,
            meaning,
        ),
        _interval(
            f"cost against version {champion.number}",
            savings,
            limits.savings_margin,
            "cost" in limits.superiority,
            frauds,
            f"How much more of all fraud's money the candidate's decisions save, each twin at its own alert threshold, "
            f"a review at {evidence.review_cost:g}; above 0 the candidate is cheaper.",
        ),
    ]


def _same_trees(name: str, frauds: int) -> Check:
    return Check(
        name,
        f"+0.000 on {frauds} frauds: the champion's own trees",
        "-",
        passed=True,
        meaning="Both twins have the same ONNX graph and the same booster, as after a change of policy alone: they "
        "rank every row equally, so that neither can be better. Cost and recall judge the thresholds.",
        figures={"difference": 0.0, "frauds": frauds},
        theme=Theme.CHAMPION,
    )


def _ranking(limits: GateLimits, comparison: Comparison, seed: int) -> Estimate:
    return paired_difference(
        comparison.rows, comparison.candidate.hybrid, comparison.champion.hybrid, None, limits.replicates, seed
    )["average_precision"]


def _savings(limits: GateLimits, evidence: Evidence, comparison: Comparison, seed: int) -> Estimate:
    candidate, champion = (
        losses(comparison.rows, scores.hybrid, thresholds.alert, evidence.review_cost)
        for scores, thresholds in (
            (comparison.candidate, comparison.candidate_thresholds),
            (comparison.champion, comparison.champion_thresholds),
        )
    )
    return paired_savings(comparison.rows, candidate, champion, limits.replicates, seed)


def _interval(name: str, gain: Estimate, margin: float, superiority: bool, frauds: int, meaning: str) -> Check:
    lowest = 0.0 if superiority else -margin
    return Check(
        name,
        f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] on {frauds} frauds",
        f"interval above {lowest:+.3f}",
        gain.low > lowest,
        f"{meaning} These rows would show a true difference of {gain.detectable:.3f} in four cases out of five.",
        figures={
            "difference": gain.value,
            "low": gain.low,
            "high": gain.high,
            "lowest": lowest,
            "detectable": gain.detectable,
            "frauds": frauds,
        },
        theme=Theme.CHAMPION,
    )
