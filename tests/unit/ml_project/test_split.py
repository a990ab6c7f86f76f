import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.split import MIN_FRAUDS, TimeSplit, forward_folds, split_by_time
from tests.support.creditcard import CREDITCARD


def numbered(moment: np.ndarray, weight: np.ndarray, fraud_every: int = 5) -> Dataset:
    """Rows whose first V is their number."""
    raw = np.zeros((len(moment), 30))
    raw[:, 1] = np.arange(len(moment))
    return Dataset(
        CREDITCARD, raw, (np.arange(len(moment)) % fraud_every == 0).astype(np.int8), weight, moment.astype(np.float64)
    )


@st.composite
def histories(draw: st.DrawFn) -> Dataset:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(400, 900))
    moment = np.sort(rng.integers(0, draw(st.sampled_from([60, 1000, 10**6])), n))
    return numbered(moment, rng.uniform(1, draw(st.sampled_from([1.001, 5.0])), n))


@given(histories())
def test_parts_are_in_order_complete_and_weigh_60_20_20(data: Dataset):
    split = split_by_time(data)
    parts = (split.train, split.validation, split.test)
    np.testing.assert_array_equal(np.concatenate([part.raw[:, 1] for part in parts]), np.arange(len(data)))
    assert split.train.moment[-1] < split.validation.moment[0]
    assert split.validation.moment[-1] < split.test.moment[0]
    total = data.weight.sum()
    heaviest = np.bincount(np.unique(data.moment, return_inverse=True)[1], weights=data.weight).max()
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(part.weight.sum() - share * total) <= heaviest + 1e-9


@given(histories(), st.integers(1, 5))
def test_folds_fit_on_all_before_and_score_what_follows(data: Dataset, count: int):
    folds = forward_folds(data, count)
    assert len(folds) == count
    for fold in folds:
        assert fold.past.moment[-1] < fold.future.moment[0]
        seen = np.concatenate([fold.past.raw[:, 1], fold.future.raw[:, 1]])
        np.testing.assert_array_equal(seen, np.arange(len(seen)))
    futures = np.concatenate([fold.future.raw[:, 1] for fold in folds])
    np.testing.assert_array_equal(futures, np.arange(len(folds[0].past), len(data)))


def test_first_fold_starts_at_the_wanted_share():
    data = numbered(np.arange(1000), np.ones(1000))
    (first, second, _) = forward_folds(data, 3, start=0.4)
    assert len(first.past) == pytest.approx(400, abs=1)
    assert len(second.past) == pytest.approx(600, abs=1)


def test_weight_counts_and_not_rows():
    weight = np.where(np.arange(1000) < 500, 1.0, 3.0)
    split = split_by_time(numbered(np.arange(1000), weight))
    assert len(split.train) == pytest.approx(500 + 700 / 3, abs=1)


def test_one_moment_is_never_cut_and_cannot_be_split():
    data = numbered(np.repeat([0, 1, 2], 100), np.ones(300))
    split = split_by_time(data)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [100, 100, 100]
    with pytest.raises(InvalidInput, match="training part has 0 frauds"):
        split_by_time(numbered(np.zeros(300), np.ones(300)))


@pytest.mark.parametrize(("part", "start", "end"), [("training", 0, 60), ("validation", 60, 80), ("test", 80, 100)])
def test_a_part_with_too_few_frauds_is_refused(part: str, start: int, end: int):
    data = numbered(np.arange(100), np.ones(100), fraud_every=2)
    data.label[start:end] = 0
    data.label[start + 2 : start + 2 + MIN_FRAUDS - 1] = 1
    with pytest.raises(InvalidInput, match=f"The {part} part has 4 frauds; at least 5 are needed"):
        split_by_time(data)
    data.label[start + 2 + MIN_FRAUDS] = 1
    split_by_time(data)


def test_a_fold_with_too_few_frauds_is_refused():
    data = numbered(np.arange(1000), np.ones(1000))
    data.label[600:780] = 0
    with pytest.raises(InvalidInput, match="The future of fold 2 part has 4 frauds"):
        forward_folds(data, 3, start=0.4)


def test_the_parts_are_the_whole(split: TimeSplit[Dataset], transactions: Dataset):
    parts = (split.train, split.validation, split.test)
    for name in ("raw", "label", "weight", "moment"):
        whole = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(whole, getattr(transactions, name))
