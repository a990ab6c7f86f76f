"""The random sample of approvals."""

from itertools import pairwise

import pytest

from ml_project.review_sample import drawn_for_review
from stores.decisions.segment_ids import segment_prediction_ids

IDS = segment_prediction_ids("0190a5f2-1111-7222-8333-444444000000", 50_000)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.2])
def test_the_sample_is_as_large_as_the_rate_says(rate: float) -> None:
    expected = rate * len(IDS)
    assert abs(len(drawn_for_review(IDS, rate)) - expected) < 4 * expected**0.5


def test_a_larger_sample_holds_a_smaller() -> None:
    samples = [set(drawn_for_review(IDS, rate)) for rate in (0, 0.001, 0.01, 0.5, 1)]
    assert all(smaller <= larger for smaller, larger in pairwise(samples))
    assert (samples[0], len(samples[-1])) == (set(), len(IDS))


def test_the_draw_is_the_same_for_ever() -> None:
    """Labels of years past are weighted by it."""
    assert [drawn_for_review(IDS[:1], rate) for rate in (0.3890, 0.3891)] == [[], [0]]
