"""Ids: unique, of the standard's form, in the order of time."""

import time
import uuid

from serving.predictions import new_prediction_id


def test_ids_are_uuids_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    texts = [new_prediction_id() for _ in range(5_000)]
    ids = [uuid.UUID(text) for text in texts]
    assert [str(made) for made in ids] == texts
    assert len(set(ids)) == 5_000
    assert {(made.version, made.variant) for made in ids} == {(7, uuid.RFC_4122)}
    assert all(before <= made.int >> 80 <= time.time_ns() // 1_000_000 for made in ids)


def test_later_ids_sort_behind_earlier_ones() -> None:
    first = new_prediction_id()
    time.sleep(0.002)
    assert first < new_prediction_id()
