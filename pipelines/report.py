"""A candidate's figures for a terminal."""

from rich.table import Table

from pipelines.evaluation import Measured
from pipelines.progress import console

_NAMES = {
    "test_average_precision": "average precision",
    "test_roc_auc": "ROC-AUC",
    "test_recall_at_fpr_0.01": "recall at 1 % false positives",
    "test_precision": "precision at the alert threshold",
    "test_recall": "recall at the alert threshold",
    "test_alerts_per_day": "alerts per day",
    "test_cost_per_day": "cost per day",
}


def show_figures(measured: Measured, policy: str) -> None:
    """The evaluation twin's figures on test, with their 95 % intervals."""
    table = Table("evaluation twin on test", "figure", "95 % interval", title_justify="left")
    for name, words in _NAMES.items():
        figure = measured.metrics[name]
        digits = 1 if "per day" in words else 3
        table.add_row(words, f"{figure.value:.{digits}f}", f"{figure.low:.{digits}f} to {figure.high:.{digits}f}")
    console.print(table)
    thresholds = measured.thresholds
    console.print(f"policy {policy}: alert from {thresholds.alert:.5f}, decline from {thresholds.decline:.5f}")
