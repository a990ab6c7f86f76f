"""What a person sees of long work: a progress bar on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

_SECONDS_PER_LINE = 10.0

Advance = Callable[[str], None]
"""Counts one unit of work as done and says a word about how it went."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Announce a step and, at its end, how long it took."""
    started = time.monotonic()
    console.print(f"[bold]▸ {name}[/bold]")
    yield
    console.print(f"  [green]✓[/green] {name} [dim]({time.monotonic() - started:.0f} s)[/dim]")


@contextmanager
def progress(name: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Units of work out of ``total``, of which ``done`` were done before."""
    if not console.is_terminal:
        count = done

        def say(detail: str) -> None:
            nonlocal count
            count += 1
            console.print(f"  {name} {count}/{total} {detail}")

        yield say
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[detail]}[/dim]"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, completed=done, detail="")
        yield lambda detail: bar.update(task, advance=1, detail=detail)


@contextmanager
def row_progress(name: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Rows out of ``total``, told in any portions and from any thread, with their rate and the time that is left."""
    begun, count, lock, said = time.monotonic(), done, threading.Lock(), time.monotonic()

    def words() -> str:
        rate = (count - done) / max(time.monotonic() - begun, 1e-3)
        left = timedelta(seconds=round((total - count) / rate)) if rate else "?"
        return f"{count:,}/{total:,} rows ({count / total:.0%}), {rate:,.0f} rows/s, {left} left"

    if not console.is_terminal:

        def say(rows: int) -> None:
            nonlocal count, said
            with lock:
                count += rows
                if time.monotonic() - said >= _SECONDS_PER_LINE:
                    said = time.monotonic()
                    console.print(f"  {name} {words()}")

        yield say
        return
    columns = TextColumn("  {task.description}"), BarColumn(), TextColumn("[dim]{task.fields[detail]}[/dim]")
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total, completed=done, detail="")

        def show(rows: int) -> None:
            nonlocal count
            with lock:
                count += rows
                bar.update(task, completed=count, detail=words())

        yield show
