"""One item ahead, in order, with errors in their turn."""

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from serving.batch.job import ahead


def test_items_come_in_order() -> None:
    assert list(ahead(iter([3, None, 1]))) == [3, None, 1]
    assert list(ahead(iter([]))) == []


def test_the_next_item_is_made_while_the_last_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = ahead(items())
    assert next(taken) == 0
    assert made[1].wait(5)
    assert not made[2].is_set()
    assert list(taken) == [1, 2]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="second"):
        next(taken)


def test_what_is_known_of_the_request_is_known_there_too() -> None:
    known: ContextVar[str] = ContextVar("known")
    known.set("here")

    def items() -> Iterator[str]:
        yield known.get()

    assert list(ahead(items())) == ["here"]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    taken = ahead(iter(range(100)))
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
