"""``approve``: a second person lets a promotion happen that the gate has let pass."""

from ml_project.errors import InvalidInput, Refused
from pipelines.moves.mover import Mover
from stores.moves import PRODUCTION, Kind


def approve(mover: Mover, version: int, reason: str) -> str:
    """Grant the request that waits for a version and move Production to it; a sentence for the screen.

    Raises
    ------
    InvalidInput
        Without a reason.
    Refused
        When nothing waits for this version, Production moved since, or the same person asked.
    LostRace, InvalidBundle, NotPublished
        As `Mover.move` does.
    """
    if not reason:
        raise InvalidInput("An approval needs a reason.", "Give --reason TEXT.")
    standing = mover.settle()
    wanted = mover.registry.version(version)
    if standing.aliases.get(PRODUCTION) == version:
        mover.publish(wanted)
        return f"Version {version} is Production already; nothing to do."
    request = standing.record.waiting(version)
    if request is None:
        raise Refused(
            f"No request waits for version {version}; one ends when Production moves.",
            f"Ask for it: python -m pipelines promote --version {version}",
        )
    if request.move.who == mover.who:
        raise Refused(f"{mover.who} asked for version {version}.", "Another person must approve it.")
    if request.move.digest != wanted.digest:
        raise Refused(f"Version {version} has another digest than when it was asked for.", "Ask again.")
    mover.move(standing, Kind.PROMOTE, wanted, reason, granted=request)
    return f"Production is now version {version}, asked for by {request.move.who} and approved by {mover.who}."
