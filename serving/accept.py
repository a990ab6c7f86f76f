"""Which media type a client wants its answer in: RFC 9110, section 12.5.1, as far as batches need it."""

from collections.abc import Sequence

from serving.errors import NotAcceptable


def media_type_of(header: str) -> str:
    """A Content-Type without its parameters."""
    return header.partition(";")[0].strip().lower()


def negotiate(accept: str, offered: Sequence[str]) -> str:
    """The offered type that the client likes best; among equals the one offered first.

    Parameters
    ----------
    accept : str
        The request's header; empty accepts everything.
    offered : sequence of str
        What can be answered, the preferred type first.

    Raises
    ------
    NotAcceptable
        When the client takes none of them.
    """
    if not accept.strip():
        return offered[0]
    wishes = [_wish(part) for part in accept.split(",")]
    liked = {media_type: _quality(media_type, wishes) for media_type in offered}
    best = max(offered, key=lambda media_type: liked[media_type])
    if liked[best] <= 0:
        raise NotAcceptable("No answer in a type that Accept names can be given.", f"Use {', '.join(offered)}.")
    return best


def _wish(part: str) -> tuple[str, float]:
    quality = 1.0
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return media_type_of(part), quality


def _quality(media_type: str, wishes: list[tuple[str, float]]) -> float:
    """The most specific wish decides."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [quality for wished, quality in wishes if wished == pattern]
        if found:
            return max(found)
    return 0.0
