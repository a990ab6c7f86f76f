"""What a person sees of commands: progress, and tables that fold on a terminal and are whole lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from pipelines.settings import PipelineSettings
    from pipelines.training.train import Measurement


console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

_SECONDS_PER_LINE = 10.0

Advance = Callable[[str], None]
"""Counts one unit of work as done and shows a short result."""


@contextmanager
def step(name: str, on: Console = console) -> Iterator[None]:
    """Announce a step and, at its end, how long it took; ``on`` the error console where the output is data."""
    started = time.monotonic()
    on.print(Text(f"▸ {name}", "bold"))
    yield
    took = time.monotonic() - started
    on.print(Text.assemble("  ", ("✓", "green"), f" {name} ", (f"({took:.0f} s)", "dim")))


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
def row_progress(name: str, total: int | None, done: int = 0, on: Console = console) -> Iterator[Callable[[int], None]]:
    """Rows out of ``total``, if that is known, in any portions and from any thread, with rate and remaining time."""
    begun, count, lock, said = time.monotonic(), done, threading.Lock(), time.monotonic()

    def words() -> str:
        rate = (count - done) / max(time.monotonic() - begun, 1e-3)
        if total is None:
            return f"{count:,} rows, {rate:,.0f} rows/s"
        left = timedelta(seconds=round((total - count) / rate)) if rate else "?"
        return f"{count:,}/{total:,} rows ({count / total:.0%}), {rate:,.0f} rows/s, {left} left"

    if not on.is_terminal:

        def say(rows: int) -> None:
            nonlocal count, said
            with lock:
                count += rows
                if time.monotonic() - said >= _SECONDS_PER_LINE:
                    said = time.monotonic()
                    on.print(f"  {name} {words()}")

        yield say
        return
    columns = TextColumn("  {task.description}"), BarColumn(), TextColumn("[dim]{task.fields[detail]}[/dim]")
    with Progress(*columns, console=on) as bar:
        task = bar.add_task(name, total=total, completed=done, detail="")

        def show(rows: int) -> None:
            nonlocal count
            with lock:
                count += rows
                bar.update(task, completed=count, detail=words())

        yield show


_GUTTER: Final = 3
"""Columns between two cells on a terminal, rich's padding and the line that is not drawn; two are enough elsewhere."""

_NARROWEST: Final = 16
"""Characters that a folding column needs, or its sentences become a ladder of syllables."""

Cell = str | Text
"""Text, as it is or with a colour; square brackets mean nothing in it."""


@dataclass
class Table:
    """A table that loses nothing, wherever it is shown.

    On a terminal sentences fold; where they would get too little room they stand below their row. In a pipe or a file
    each row is one line, with two spaces or more between its cells, for ``grep`` and ``awk -F '  +'``.

    Attributes
    ----------
    columns : tuple of str
    folding : tuple of str
        Those that hold sentences and may take several lines; all others stay whole.
    numbers : tuple of str
        Those that are aligned at the right.
    title, caption : str
        A line above and below.
    empty : str
        What takes the place of a table without rows.
    """

    columns: tuple[str, ...]
    folding: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    title: str = ""
    caption: str = ""
    empty: str = ""
    _rows: list[tuple[list[Text], str]] = field(default_factory=list, init=False)
    _sections: set[int] = field(default_factory=set, init=False)

    def add_row(self, *cells: Cell, style: str = "") -> None:
        """Add a row; cells that are left out are empty."""
        texts = [each if isinstance(each, Text) else Text(each) for each in cells]
        self._rows.append(([*texts, *(Text() for _ in self.columns[len(texts) :])], style))

    def add_section(self) -> None:
        """Leave a line empty before the next row."""
        self._sections.add(len(self._rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.empty and not self._rows:
            yield Text(self.empty)
            if self.caption:
                yield Text(self.caption, style="dim")
            return
        if not console.is_terminal:
            yield from self._lines()
            return
        widths = self._widths()
        folds = [name in self.folding for name in self.columns]
        needed = sum(min(width, _NARROWEST) if fold else width for width, fold in zip(widths, folds, strict=True))
        if self.title:
            yield Text(self.title, style="bold")
        if needed + _GUTTER * (len(widths) - 1) <= options.max_width:
            yield self._folded(folds)
        else:
            yield from self._below(folds, widths)
        if self.caption:
            yield Text(self.caption, style="dim", overflow="fold", no_wrap=False)

    def _widths(self) -> list[int]:
        cells = [[Text(name) for name in self.columns], *(cells for cells, _ in self._rows)]
        return [
            max(max(map(cell_len, cell.plain.split("\n"))) for cell in column) for column in zip(*cells, strict=True)
        ]

    def _lines(self) -> Iterator[Segment]:
        rows = [list(self.columns), *([" ".join(cell.plain.split()) for cell in cells] for cells, _ in self._rows)]
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        if self.title:
            yield Segment(f"{self.title}\n")
        for row in rows:
            yield Segment(f"{self._aligned([Text(cell) for cell in row], widths).plain}\n")
        if self.caption:
            yield Segment(f"{self.caption}\n")

    def _aligned(self, cells: list[Text], widths: list[int], style: str = "") -> Text:
        line = Text(style=style, overflow="fold", no_wrap=False)
        for name, cell, width in zip(self.columns, cells, widths, strict=True):
            if width:
                room = " " * (width - cell.cell_len)
                line.append_text(Text.assemble(*((room, cell) if name in self.numbers else (cell, room)), "  "))
        line.rstrip()
        return line

    def _folded(self, folds: list[bool]) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        for name, fold in zip(self.columns, folds, strict=True):
            align: Literal["left", "right"] = "right" if name in self.numbers else "left"
            table.add_column(name, justify=align, no_wrap=not fold, overflow="fold")
        for place, (cells, style) in enumerate(self._rows):
            if place in self._sections and place:
                table.add_row()
            table.add_row(*cells, style=style)
        return table

    def _below(self, folds: list[bool], widths: list[int]) -> Iterator[RenderableType]:
        kept = [0 if fold else width for width, fold in zip(widths, folds, strict=True)]
        yield self._aligned([Text(name, "dim") for name in self.columns], kept)
        for place, (cells, style) in enumerate(self._rows):
            if place in self._sections and place:
                yield Text()
            yield self._aligned(cells, kept, style)
            for name, cell, fold in zip(self.columns, cells, folds, strict=True):
                if fold and cell.plain:
                    said = Text(style=style, overflow="fold", no_wrap=False)
                    yield Padding(said.append(f"{name}: " if name else "", "dim").append_text(cell), (0, 0, 0, 4))


def show_figures(measured: "Measurement", settings: "PipelineSettings") -> None:
    """The evaluation twin's figures on test with their 95 % intervals, and the thresholds that ship."""
    from ml_project.card import FIGURES
    from ml_project.quantities import figure_text, span_of, thresholds_text

    table = Table(
        ("figure", "value", "95 % interval"), numbers=("value", "95 % interval"), title="Evaluation twin on test"
    )
    for name, words in FIGURES.items():
        if (found := measured.metrics.get(f"test_{name}")) is not None:
            value, low, high = (
                figure_text(name, each, settings.money) for each in (found.value, found.low, found.high)
            )
            table.add_row(words, value, span_of(low, high))
    console.print(table)
    if measured.shipped is not None:
        console.print(
            f"The model ships with policy {settings.policy}: {thresholds_text(measured.shipped)}. "
            f"The twin above was measured at its own: {thresholds_text(measured.thresholds)}."
        )
