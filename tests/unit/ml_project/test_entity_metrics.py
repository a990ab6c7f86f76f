import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ml_project.entity_metrics import EntityDays, entity_figures
from ml_project.operators import SECONDS_PER_DAY


def days_of(rows: list[tuple[float, int, float, int]]) -> EntityDays:
    """Of (day, entity, score, label)."""
    day, entity, score, label = (np.array(column) for column in zip(*rows, strict=True))
    return EntityDays.of(day * SECONDS_PER_DAY, entity, score, label.astype(np.int8))


def test_an_entity_of_a_day_is_one_item_with_its_highest_score_and_any_fraud() -> None:
    found = days_of([(0.1, 7, 0.2, 1), (0.5, 7, 0.9, 0), (0.6, 3, 0.4, 0), (1.0, 7, 0.1, 0)])
    assert found.score.tolist() == [0.9, 0.4, 0.1]
    assert found.fraud.tolist() == [True, False, False]
    assert found.begins.tolist() == [0, 2, 3]
    assert found.entities == 2


def test_found_entities_take_no_place_on_later_days() -> None:
    rows = [(0.0, 1, 0.9, 1), (0.0, 2, 0.8, 0), (1.0, 1, 0.9, 1), (1.0, 3, 0.5, 1), (1.0, 2, 0.1, 0)]
    # day 0: entity 1 is found; on day 1 it is out, and entity 3 is the highest of those left
    assert days_of(rows).card_precision(1) == 1.0
    assert days_of(rows).card_precision(2) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_the_definition_on_random_rows() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (float(rng.uniform(0, 5)), int(rng.integers(0, 40)), float(rng.integers(0, 30)) / 30, int(rng.random() < 0.1))
        for _ in range(600)
    ]
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for day, entity, score, label in rows:
        known = best.get((int(day), entity), (0.0, 0))
        best[int(day), entity] = max(known[0], score), max(known[1], label)
    found = days_of(rows)
    expected = average_precision_score([each[1] for each in best.values()], [each[0] for each in best.values()])
    assert found.average_precision() == pytest.approx(expected)
    assert len(found.score) == len(best)
    caught: set[int] = set()
    shares = []
    for day in range(5):
        alive = [(-best[key][0], key[1], best[key][1]) for key in best if key[0] == day and key[1] not in caught]
        top = sorted(alive)[:10]
        shares.append(sum(label for _score, _entity, label in top) / 10)
        caught |= {entity for _score, entity, label in top if label}
    assert found.card_precision(10) == pytest.approx(np.mean(shares))


def test_rows_without_an_entity_do_not_count() -> None:
    found = days_of([(0.0, -1, 0.99, 0), (0.0, 4, 0.5, 1)])
    assert (found.card_precision(1), found.average_precision(), found.entities) == (1.0, 1.0, 1)
    nobody = days_of([(0.0, -1, 0.9, 1)])
    assert {name: each.value for name, each in entity_figures(nobody, 5, 100).items()} == {
        "card_precision": 0.0,
        "card_average_precision": 0.0,
    }


def test_intervals_hold_the_figures_and_an_entity_drawn_twice_counts_twice() -> None:
    rng = np.random.default_rng(1)
    entity = rng.integers(0, 60, 900)
    label = (rng.random(900) < 0.1).astype(np.int8)
    days = EntityDays.of(rng.uniform(0, 4, 900) * SECONDS_PER_DAY, entity, label + rng.normal(size=900), label)
    for figure in entity_figures(days, 5, 200).values():
        assert figure.low <= figure.value <= figure.high
        assert figure.high - figure.low > 0.01
    twice = np.full(days.entities, 2)
    assert days.average_precision(twice) == pytest.approx(days.average_precision())
    assert days.card_precision(10, twice) == pytest.approx(days.card_precision(5))
