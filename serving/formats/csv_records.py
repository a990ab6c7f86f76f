"""A CSV file cut into blocks of whole records, so that each can be parsed alone and every line keeps its number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from serving.errors import MalformedFile

BLOCK_BYTES: Final = 4 * 1024**2
"""About 8,000 transactions; also the longest record."""

_QUOTE, _NEWLINE = b'"', b"\n"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, the number of the line that the first of them starts at, and how many lines they have."""

    content: bytes
    line: int
    lines: int


def blocks(file: BinaryIO, line: int, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Cut the rest of a file, whose next line has the number ``line``.

    A quote that nobody closes would swallow the lines after it: where a block has no whole record, its first line goes
    alone, to be refused, and the next one starts afresh.

    Raises
    ------
    MalformedFile
        At a line that is longer than a block.
    """
    pending, more = b"", True
    while pending or more:
        if more and len(pending) < size:
            read = file.read(size - len(pending))
            more, pending = bool(read), pending + read
            continue
        end = _end_of_records(pending, not more) or pending.find(_NEWLINE) + 1
        if not end:
            if more:
                raise MalformedFile(f"Line {line} is longer than {size} bytes.", "Send a CSV with a line per row.")
            end = len(pending)
        content, pending = pending[:end], pending[end:]
        lines = content.count(_NEWLINE) + (not content.endswith(_NEWLINE))
        yield Block(content, line, lines)
        line += lines


def _end_of_records(content: bytes, is_last: bool) -> int:
    """Where the last whole record ends: after a line end with an even number of quotes before it (RFC 4180).

    The file's last record may do without the line end.
    """
    end, quotes = len(content), content.count(_QUOTE)
    if is_last and quotes % 2 == 0:
        return end
    while (newline := content.rfind(_NEWLINE, 0, end)) >= 0:
        quotes -= content.count(_QUOTE, newline, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return 0
