"""Work on the next item while the last one is being used: what both spend outside of Python then goes side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made on another thread while the one before it is in use; at most one more than that is held.

    What an item raises is raised in its turn. Leaving early waits for the item in the making.
    """
    with ThreadPoolExecutor(1, "batch-ahead") as pool:
        context = copy_context()
        following = pool.submit(context.run, _next, items)
        while found := following.result():
            following = pool.submit(context.run, _next, items)
            yield found[0]


def _next(items: Iterator[T]) -> tuple[T, ...]:
    """A tuple, so that an item may be anything."""
    for item in items:
        return (item,)
    return ()
