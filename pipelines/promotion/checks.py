"""The gate's checks, in the order of its report.

- against the champion: paired bootstrap of average precision and savings on rows that neither has seen
- quality on its own: recall and calibration that a candidate must reach, champion or not
- slices: no band of amounts or hours may be clearly worse off than under the champion
- integrity: whether what would ship is what was measured: files, scores, schema, data, speed
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from ml_project.entity_metrics import EntityDays
from ml_project.metrics import (
    Estimate,
    RankingCurve,
    calibration_error,
    losses,
    paired_difference,
    paired_savings,
    ranking_curve,
    recall_at_fpr,
    recall_within,
    slices,
)
from ml_project.quantities import difference_interval, difference_of_scores, difference_text, rate, ratio
from pipelines.promotion.evidence import Champion, Evidence, ShippedBundle, TwinComparison
from pipelines.promotion.mover import simulated_after_real
from pipelines.promotion.report import Check, GateLimits, GateReport, Theme

REAL_DATA: Final = "real data required"

_NAMED: Final = 5
"""Faults of a contract that a check names."""


def judge(limits: GateLimits, evidence: Evidence, seed: int = 0) -> GateReport:
    """Check a candidate; the same evidence gives the same report."""
    return GateReport(
        (
            *champion_checks(limits, evidence, seed),
            *quality_checks(limits, evidence),
            *slice_checks(limits, evidence, seed),
            *integrity_checks(limits, evidence),
        ),
        evidence,
    )


def champion_checks(limits: GateLimits, evidence: Evidence, seed: int) -> list[Check]:
    """One row where there is no champion."""
    champion = evidence.champion
    if champion is None:
        return [
            Check(
                "not worse than the champion",
                "no champion yet",
                "none",
                passed=True,
                meaning="There is no Production version to compare with.",
                judged=False,
                theme=Theme.CHAMPION,
            )
        ]
    return [_real_beats_simulated(evidence, champion), *_comparisons(limits, evidence, champion, seed)]


def _real_beats_simulated(evidence: Evidence, champion: Champion) -> Check:
    return Check(
        REAL_DATA,
        f"candidate: {evidence.source}, champion: {champion.source or 'unknown'}",
        "not simulated after real",
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
                meaning="The champion was registered by hand, so nothing shows that the candidate is not worse. "
                "A person can promote it all the same, with a reason.",
                theme=Theme.CHAMPION,
            )
        ]
    if evidence.twin.manifest.contract.refuses_of(champion.twin.manifest.contract):
        meaning = "Transactions of one schema cannot be scored by the other."
        return [Check(name, "another schema", "the same rows for both", False, meaning, theme=Theme.CHAMPION)]
    comparison, frauds = evidence.comparison, evidence.test.take(evidence.unseen).frauds
    if comparison is None or frauds < limits.minimum_frauds:
        return [
            Check(
                name,
                f"{frauds} frauds that neither has seen",
                f"at least {limits.minimum_frauds} frauds",
                passed=False,
                meaning="Too few frauds for a comparison: train on data with later rows.",
                figures={"frauds": frauds},
                theme=Theme.CHAMPION,
            )
        ]
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
        _saved(limits, comparison, evidence.review_cost, frauds, seed),
    ]


def _saved(limits: GateLimits, comparison: TwinComparison, review_cost: float | None, frauds: int, seed: int) -> Check:
    name = f"savings against version {comparison.number}"
    if review_cost is None:
        return Check(
            name,
            "no amounts",
            "none",
            passed=True,
            meaning="The contract has no amount, so savings cannot be computed.",
            judged=False,
            theme=Theme.CHAMPION,
        )
    return _interval(
        name,
        _savings(limits, comparison, review_cost, seed),
        limits.savings_margin,
        "savings" in limits.superiority,
        frauds,
        "Share of the money lost to fraud that the candidate's decisions save, minus the same of Production's: each "
        f"twin at its own alert threshold, reviews at {review_cost:g} each paid. Above 0 the candidate saves more.",
        figure="savings",
    )


def _same_trees(name: str, frauds: int) -> Check:
    return Check(
        name,
        f"+0.000 on {frauds} frauds: the champion's own trees",
        "none",
        passed=True,
        meaning="Both twins have the same ONNX graph and the same booster, as after a change of policy alone: they "
        "rank every row equally, so that neither can be better. Savings and recall judge the thresholds.",
        figures={"difference": 0.0, "frauds": frauds},
        theme=Theme.CHAMPION,
    )


def _ranking(limits: GateLimits, comparison: TwinComparison, seed: int) -> Estimate:
    return paired_difference(
        comparison.rows, comparison.candidate.hybrid, comparison.champion.hybrid, None, limits.replicates, seed
    )["average_precision"]


def _savings(limits: GateLimits, comparison: TwinComparison, review_cost: float, seed: int) -> Estimate:
    candidate, champion = (
        losses(comparison.rows, scores.hybrid, thresholds.alert, review_cost)
        for scores, thresholds in (
            (comparison.candidate, comparison.candidate_thresholds),
            (comparison.champion, comparison.champion_thresholds),
        )
    )
    return paired_savings(comparison.rows, candidate, champion, limits.replicates, seed)


def _interval(
    name: str,
    gain: Estimate,
    margin: float,
    superiority: bool,
    frauds: int,
    meaning: str,
    figure: str = "average_precision",
) -> Check:
    lowest = 0.0 if superiority else -margin
    seen = difference_text(figure, gain.detectable).removeprefix("+")
    return Check(
        name,
        f"{difference_interval(figure, gain)} on {frauds} frauds",
        f"interval above {difference_text(figure, lowest)}",
        gain.low > lowest,
        f"{meaning} These rows would show a true difference of {seen} in four cases out of five.",
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


def quality_checks(limits: GateLimits, evidence: Evidence) -> list[Check]:
    """Recall at the alert budget and at 1 % false positives, and calibration."""
    test, scores = evidence.test, evidence.scores
    curve = ranking_curve(scores.hybrid, test.label, test.weight, test.amount)
    recall, error = recall_at_fpr(0.01)(curve), calibration_error(test, scores.probability)
    return [
        _recall_at_alert_budget(limits, evidence, curve),
        Check(
            "recall at 1 % false positives",
            rate(recall),
            f"≥ {rate(limits.minimum_recall)}",
            recall >= limits.minimum_recall,
            "Share of the test rows' frauds among the alerts when 1 % of the legitimate rows raise one.",
            figures={"recall": recall},
            theme=Theme.QUALITY,
        ),
        Check(
            "calibration error",
            ratio(error),
            f"≤ {ratio(limits.maximum_calibration_error)}",
            error <= limits.maximum_calibration_error,
            "Fraud mass that the probabilities put in the wrong place on test, as a share of all frauds.",
            figures={"error": error},
            theme=Theme.QUALITY,
        ),
        *_card_checks(limits, evidence),
    ]


def _card_checks(limits: GateLimits, evidence: Evidence) -> Iterator[Check]:
    entity, k = evidence.card_entity, evidence.cards_per_day
    if entity is None:
        return
    test = evidence.test
    days = EntityDays.of(test.moment, test.entities[entity], evidence.scores.hybrid, test.label)
    for name, value, limit, meaning in (
        (
            f"card precision at {k}",
            days.card_precision(k),
            limits.minimum_card_precision,
            f"Share of frauds among the {k} of {entity} with the highest scores of a day; found ones are blocked.",
        ),
        (
            f"average precision per {entity}",
            days.average_precision(),
            limits.minimum_card_average_precision,
            f"Average precision on test where each {entity} of a day is one item, with its highest score.",
        ),
    ):
        yield Check(
            name,
            ratio(value) if name.startswith("average") else rate(value),
            "none" if limit is None else f"≥ {ratio(limit) if name.startswith('average') else rate(limit)}",
            passed=limit is None or value >= limit,
            meaning=meaning,
            judged=limit is not None,
            figures={"value": value},
            theme=Theme.QUALITY,
        )


def _recall_at_alert_budget(limits: GateLimits, evidence: Evidence, curve: RankingCurve) -> Check:
    alerts, rows = evidence.alerts_per_day * evidence.test.days, float(evidence.test.weight.sum())
    recall, reachable = recall_within(alerts)(curve), min(1.0, alerts / curve.frauds)
    # every model finds all frauds if everything is an alert: then nothing was tested, and the times are wrong
    meaningful = alerts < rows
    return Check(
        "recall at the alert budget",
        f"{rate(recall)}, {rate(reachable)} in reach" if meaningful else f"{alerts:,.0f} alerts for {rows:,.0f} rows",
        f"≥ {rate(limits.minimum_recall_at_alert_budget)} of what is in reach",
        meaningful and recall >= limits.minimum_recall_at_alert_budget * reachable,
        f"Share of the test rows' frauds among the {evidence.alerts_per_day:g} highest scores a day; "
        "where there are more frauds than alerts, not all are in reach. A budget for more alerts than there are rows "
        "tests nothing: look at the unit of the times, and at the budget.",
        figures={"recall": recall, "reachable": reachable, "alerts_per_day": evidence.alerts_per_day},
        theme=Theme.QUALITY,
    )


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
            # many intervals at once: each is wider, so that all of them hold together at 95 % (Bonferroni)
            confidence=1 - 0.05 / len(judged),
        )["average_precision"]
        checks.append(
            Check(
                name,
                f"{difference_interval('average_precision', gain)} on {rows.frauds} frauds",
                f"not clearly below {difference_text('average_precision', -limits.slice_margin)}",
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


def _frauds(count: int) -> str:
    return f"{count} fraud{'' if count == 1 else 's'}"


def _too_few(limits: GateLimits, name: str, frauds: int) -> Check:
    return Check(
        name,
        _frauds(frauds),
        f"needs at least {limits.slice_minimum_frauds} frauds",
        passed=True,
        meaning=_MEANING,
        judged=False,
        figures={"frauds": frauds},
        theme=Theme.SLICES,
    )


def integrity_checks(limits: GateLimits, evidence: Evidence) -> list[Check]:
    """Validation, digests, parity, latency, schema and signature."""
    shipped = evidence.shipped
    checks = [_validation(evidence), _unforceable(_digest(shipped)), _parity(limits, evidence)]
    if shipped.bundle is not None:
        checks += [_golden_rows(limits, shipped), _latency(limits, shipped)]
    if evidence.champion is not None:
        checks += _unchanged(evidence, evidence.champion)
    return checks


def _check(name: str, value: str, limit: str, passed: bool, meaning: str, **figures: float) -> Check:
    return Check(name, value, limit, passed, meaning, Theme.INTEGRITY, figures=figures)


def _unforceable(check: Check) -> Check:
    return replace(check, forceable=False)


def _validation(evidence: Evidence) -> Check:
    words = {True: "passed", False: "failed", None: "these data were never validated"}
    return _check(
        "data validation",
        words[evidence.validated],
        "passed",
        evidence.validated is True,
        "The newest validation of the very data that the candidate was trained on, by their digest.",
    )


def _digest(shipped: ShippedBundle) -> Check:
    digest = shipped.bundle.digest if shipped.bundle else ""
    equal = bool(digest) and digest == shipped.expected_digest
    return _check(
        "bundle digest",
        shipped.problem or f"{digest[:16]} in the files",
        shipped.expected_digest[:16] or "a digest in the registry",
        equal,
        "SHA-256 over the bundle's files as they are in the artifact store, against the run's tag.",
    )


def _parity(limits: GateLimits, evidence: Evidence) -> Check:
    measured = {} if evidence.parity is None else {"difference": evidence.parity}
    return _check(
        "parity with the libraries",
        "never measured" if evidence.parity is None else difference_of_scores(evidence.parity),
        f"≤ {difference_of_scores(limits.maximum_parity_difference)}",
        evidence.parity is not None and evidence.parity <= limits.maximum_parity_difference,
        "Largest difference between ONNX's scores and scikit-learn's and XGBoost's on the latest rows, twin and refit.",
        **measured,
    )


def _golden_rows(limits: GateLimits, shipped: ShippedBundle) -> Check:
    return _check(
        "golden rows",
        difference_of_scores(shipped.golden_difference),
        f"≤ {difference_of_scores(limits.maximum_parity_difference)}",
        shipped.golden_difference <= limits.maximum_parity_difference,
        "The bundle's own sample transactions, scored again from the artifact store, against what training wrote.",
        difference=shipped.golden_difference,
    )


def _latency(limits: GateLimits, shipped: ShippedBundle) -> Check:
    return _check(
        "latency of one row",
        f"{shipped.latency_ratio:.2f} times the reference",
        f"≤ {limits.maximum_latency_ratio:g} times",
        shipped.latency_ratio <= limits.maximum_latency_ratio,
        "Time for one row in units of a forest of 100 + 100 trees, timed in turns in the same process: a slow machine "
        "slows both.",
        ratio=shipped.latency_ratio,
    )


def _unchanged(evidence: Evidence, champion: Champion) -> list[Check]:
    checks = []
    if champion.twin is not None:
        mine, theirs = evidence.twin.manifest.contract, champion.twin.manifest.contract
        faults = mine.refuses_of(theirs)
        kept = [name for name in mine.feature_names if name in theirs.feature_names]
        said = "; ".join(faults[:_NAMED]) if faults else "" if kept == [*theirs.feature_names] else "other features"
        schema = _check(
            "schema unchanged",
            said or _additions(len(mine.fields) - len(theirs.fields), len(mine.features) - len(theirs.features)),
            "the champion's, or more optional fields or features",
            not said,
            f"The champion's {len(theirs.features)} features in the champion's order, and its fields: every client of "
            "the champion can send to the candidate.",
        )
        checks.append(_unforceable(schema))
    known = champion.signature is not None
    takes = known and _takes_calls(evidence.shipped.signature, str(champion.signature))
    differs = "other fields or types" if known else "the champion's cannot be read"
    checks.append(
        _check(
            "signature unchanged",
            differs if not takes else "same" if evidence.shipped.signature == champion.signature else "more optional",
            "the champion's, or more optional fields",
            takes,
            "Inputs and outputs of the pyfunc: callers of the champion can call the candidate.",
        )
    )
    return checks


def _additions(fields: int, features: int) -> str:
    return f"{fields} more fields, {features} more features" if fields or features else "same"


def _takes(mine: dict[str, Any] | None, earlier: dict[str, Any]) -> bool:
    optional = {**earlier, "required": False}
    return mine in (earlier, optional, {**optional, "type": "any"})


def _takes_calls(signature: str, earlier: str) -> bool:
    """Whether a pyfunc takes and gives all that an earlier one did, by their signatures as JSON."""
    mine, theirs = json.loads(signature or "{}"), json.loads(earlier)
    inputs, before = ({each["name"]: each for each in json.loads(one.pop("inputs", "[]"))} for one in (mine, theirs))
    more = (each for name, each in inputs.items() if name not in before)
    return (
        mine == theirs
        and not any(each["required"] for each in more)
        and all(_takes(inputs.get(name), each) for name, each in before.items())
    )
