"""Windows counted and sampled, on every database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from stores.decisions import Chunk, DecisionRecord, DecisionStore, LabelItem, ShadowDecision
from stores.decisions.dashboard import Outcome, Shadowed, received_at
from stores.decisions.segments import new_segment_id

HOUR = timedelta(hours=1)


def test_counts_samples_and_what_labels_and_challengers_say(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk]
) -> None:
    now = datetime.now(UTC)
    singles = [
        make_record(
            prediction_id=new_segment_id(),
            received_at=now - HOUR / 2 + timedelta(seconds=place),
            decision="REVIEW" if place < 3 else "APPROVE",
            review_rate=1.0 if place < 3 else None,
        )
        for place in range(20)
    ]
    chunk = make_chunk(rows=100, received_at=now - HOUR / 2, sample=frozenset({0, 2}), sample_rate=0.02)
    store.add([*singles, make_record(received_at=now - 3 * HOUR)])
    store.add_segment(chunk)

    before, within = store.slices([now - 2 * HOUR, now - HOUR, now + HOUR], rows=60)
    assert (before.decisions, before.samples) == ({"APPROVE": 0}, ())
    assert (within.decisions, within.drawn) == ({"APPROVE": 107, "REVIEW": 13}, 2)
    of_singles, of_bulk = within.samples
    assert (len(of_singles), len(of_bulk)) == (20, 50)
    assert (of_singles.weight.sum(), of_bulk.weight.sum()) == (pytest.approx(20), pytest.approx(100))
    assert of_singles.raw["d" * 64].tolist() == [list(record.inputs) for record in singles]
    assert of_bulk.hybrid[0] == chunk.scores[2][0]
    assert of_singles.single.all()
    assert not of_bulk.single.any()

    names = [singles[0].prediction_id, singles[5].prediction_id, chunk.prediction_ids[2], chunk.prediction_ids[50]]
    store.label([LabelItem(prediction_id=name, label=0) for name in names], "anna")
    store.label([LabelItem(prediction_id=name, label=1) for name in names[:3]], "ben")
    said = store.outcomes(now - HOUR, now + HOUR)
    assert {outcome.prediction_id: outcome for outcome in said} == {
        names[0]: Outcome(names[0], 1, "REVIEW", 1.0),
        names[1]: Outcome(names[1], 1, "APPROVE", None),
        names[2]: Outcome(names[2], 1, "APPROVE", 0.02),
        names[3]: Outcome(names[3], 0, "APPROVE", None),
    }
    assert store.outcomes(now - 2 * HOUR, now - HOUR) == []
    assert now.timestamp() - 0.001 <= received_at(names[0]) <= datetime.now(UTC).timestamp()  # to the millisecond

    store.add_shadow([ShadowDecision(name, now, "5", "d", 0.1, 0.1, 0.1, 0.1, "REVIEW") for name in names])
    found = store.shadowed(now - HOUR, now + HOUR)
    assert sorted(found, key=lambda each: (each.decision, each.rows)) == [
        Shadowed("5", "APPROVE", "REVIEW", 1, 0),
        Shadowed("5", "APPROVE", "REVIEW", 2, 1),
        Shadowed("5", "REVIEW", "REVIEW", 1, 1),
    ]


def test_a_busy_hour_and_one_large_file_have_most_of_the_sample(
    store: DecisionStore, make_record: Callable[..., DecisionRecord], make_chunk: Callable[..., Chunk]
) -> None:
    now = datetime.now(UTC)
    store.add([make_record(received_at=now - 9 * HOUR / 10) for _ in range(400)])
    store.add([make_record(received_at=now - 95 * HOUR / 10) for _ in range(30)])
    for part in range(4):
        received = now - 3 * HOUR + timedelta(seconds=part)
        store.add_segment(make_chunk(rows=300, segment_id=new_segment_id(), received_at=received))
    slices = store.slices([now - HOUR * place for place in range(10, -1, -1)], rows=800)
    sampled = {place: sum(map(len, each.samples)) for place, each in enumerate(slices) if each.samples}
    assert sampled == {0: 20, 7: 590, 9: 197}
    weights = sum(sample.weight.sum() for each in slices for sample in each.samples)
    assert weights == pytest.approx(1630)
