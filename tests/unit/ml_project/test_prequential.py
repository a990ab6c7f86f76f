import numpy as np
import pytest

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidInput
from ml_project.prequential import Budget, blocks, measure_block
from ml_project.split import forward_folds


def test_labels_of_the_last_days_before_a_block_are_not_known(transactions: Dataset) -> None:
    delayed = blocks(transactions, 4, 0.4, label_delay=0.25)
    for fold, undelayed in zip(delayed, forward_folds(transactions, 4, 0.4), strict=True):
        assert fold.past.moment[-1] < fold.future.moment[0] - 0.25 * 86_400
        assert len(fold.past) < len(undelayed.past)
        np.testing.assert_array_equal(fold.future.moment, undelayed.future.moment)
    assert sum(len(fold.future) for fold in delayed) == pytest.approx(0.6 * len(transactions), rel=0.05)


def test_without_a_delay_everything_before_is_known(transactions: Dataset) -> None:
    for fold, undelayed in zip(blocks(transactions, 3, 0.4, 0), forward_folds(transactions, 3, 0.4), strict=True):
        assert len(fold.past) == len(undelayed.past)


def test_a_delay_longer_than_the_history_is_refused(transactions: Dataset) -> None:
    with pytest.raises(InvalidInput, match="label delay"):
        blocks(transactions, 3, 0.4, label_delay=7)


def test_a_block_is_scored_by_what_was_known(transactions: Dataset, small_settings: EnsembleSettings) -> None:
    fold = blocks(transactions, 3, 0.4, 0.1)[-1]
    figures = measure_block(fold, small_settings, LocalEngine(), Budget(200.0, 5.0), replicates=100)
    assert set(figures) == {"average_precision", "precision_at_budget", "recall_at_budget", "cost_per_day"}
    assert figures["average_precision"].value > 0.5
    assert all(figure.low <= figure.value <= figure.high for figure in figures.values())
