"""What a candidate must reach on its own, champion or not."""

from ml_project.metrics import RankingCurve, calibration_error, ranking_curve, recall_at_fpr, recall_within
from pipelines.gate.evidence import Evidence
from pipelines.gate.limits import GateLimits
from pipelines.gate.report import Check, Theme


def quality_checks(limits: GateLimits, evidence: Evidence) -> list[Check]:
    """Recall at the alert budget and at 1 % false positives, and calibration."""
    test, scores = evidence.test, evidence.scores
    curve = ranking_curve(scores.hybrid, test.label, test.weight, test.amount)
    recall, error = recall_at_fpr(0.01)(curve), calibration_error(test, scores.probability)
    return [
        _recall_at_alert_budget(limits, evidence, curve),
        Check(
            "recall at 1 % false positives",
            f"{recall:.3f}",
            f">= {limits.minimum_recall:g}",
            recall >= limits.minimum_recall,
            "Share of the test rows' frauds among the alerts when 1 % of the legitimate rows raise one.",
            figures={"recall": recall},
            theme=Theme.QUALITY,
        ),
        Check(
            "calibration error",
            f"{error:.3f}",
            f"<= {limits.maximum_calibration_error:g}",
            error <= limits.maximum_calibration_error,
            "Fraud mass that the probabilities put in the wrong place on test, as a share of all frauds.",
            figures={"error": error},
            theme=Theme.QUALITY,
        ),
    ]


def _recall_at_alert_budget(limits: GateLimits, evidence: Evidence, curve: RankingCurve) -> Check:
    alerts = evidence.alerts_per_day * evidence.test.days
    recall, reachable = recall_within(alerts)(curve), min(1.0, alerts / curve.frauds)
    return Check(
        "recall at the alert budget",
        f"{recall:.3f} of {reachable:.3f}",
        f">= {limits.minimum_recall_at_alert_budget:g} of what is in reach",
        recall >= limits.minimum_recall_at_alert_budget * reachable,
        f"Share of the test rows' frauds among the {evidence.alerts_per_day:g} highest scores a day; "
        "where there are more frauds than alerts, not all are in reach.",
        figures={"recall": recall, "reachable": reachable, "alerts_per_day": evidence.alerts_per_day},
        theme=Theme.QUALITY,
    )
