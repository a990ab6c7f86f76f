"""What a person sees of long work: a progress bar on a terminal, plain lines elsewhere, and a candidate's figures."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.training.train import Measurement


console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

_SECONDS_PER_LINE = 10.0

Advance = Callable[[str], None]
"""Counts one unit of work as done and shows a short result."""


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
    """Rows out of ``total``, reported in any portions and from any thread, with their rate and the remaining time."""
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


def show_figures(measured: "Measurement", policy: str) -> None:
    """The evaluation twin's figures on test, with their 95 % intervals."""
    from ml_project.card import FIGURES

    table = Table("evaluation twin on test", "figure", "95 % interval", title_justify="left")
    for name, words in FIGURES.items():
        figure = measured.metrics[f"test_{name}"]
        digits = 1 if name.endswith("_per_day") else 3
        table.add_row(words, f"{figure.value:.{digits}f}", f"{figure.low:.{digits}f} to {figure.high:.{digits}f}")
    console.print(table)
    thresholds = measured.thresholds
    console.print(f"policy {policy}: alert from {thresholds.alert:.5f}, decline from {thresholds.decline:.5f}")
