"""``rollback`` puts a version back that was Production before; ``approve`` lets a waiting promotion happen."""

from ml_project.errors import InvalidInput, Refused
from pipelines.promotion.finisher import NotPublished
from pipelines.promotion.mover import Mover, Standing, simulated_after_real
from stores.moves import PREVIOUS, PRODUCTION, Kind
from stores.registry import ModelVersion

PROMOTED_TAG = "promoted.at"
"""Tag of every version that was ever Production, including those from before the history began."""


def rollback(mover: Mover, reason: str, to: int | None = None) -> str:
    """Make ``Previous``, or version ``to``, Production again; a sentence for the screen.

    ``Previous`` then names what was Production before the version put back, so that a second rollback goes one further
    back and never forward again. With ``to`` a second one does nothing.

    Raises
    ------
    InvalidInput
        Without a reason.
    Refused
        When there is nothing to go back to, the version never was Production, or it was trained on simulated data and
        Production was not.
    LostRace, InvalidBundle, NotPublished
        As `Mover.move` does.
    """
    if not reason:
        raise InvalidInput("A rollback needs a reason.", "Give --reason TEXT.")
    standing = mover.settle()
    if to is None and (cut_short := _cut_short(standing)):
        return cut_short
    version = mover.registry.version(_target(standing, to))
    if standing.aliases.get(PRODUCTION) == version.version:
        mover.publish(version)
        return f"Version {version.version} is Production already; nothing to do."
    if not _was_production(standing, version):
        raise Refused(
            f"Version {version.version} was never Production, and no gate passed it.", "Use `promote --version`."
        )
    _require_real(mover, standing, version)
    mover.move(standing, Kind.ROLLBACK, version, reason)
    return f"Production is version {version.version} again (before: version {standing.aliases.get(PRODUCTION)})."


def _require_real(mover: Mover, standing: Standing, version: ModelVersion) -> None:
    """A rollback follows the same rule on simulated data as a promotion, and cannot be forced either."""
    if PRODUCTION not in standing.aliases:
        return
    champion = mover.registry.version(standing.aliases[PRODUCTION])
    if simulated_after_real(version.source, champion.source):
        raise Refused(
            f"Version {version.version} was trained on simulated data, which never replaces real data: version "
            f"{champion.version} stays Production ({champion.source or 'of unknown origin'}).",
            "Name a version trained on real data: rollback --to VERSION; or train and promote one.",
        )


def _cut_short(standing: Standing) -> str:
    """Running an interrupted rollback again means that same rollback: one step back, not two."""
    if any(entry.move.kind is Kind.ROLLBACK for entry in standing.record.unfinished):
        raise NotPublished("The last rollback is done but for its release, see above.", "Fix that, then run it again.")
    finished = [entry for entry in standing.finished if entry.move.kind is Kind.ROLLBACK and not entry.undone]
    if not finished:
        return ""
    return f"Finished a rollback that was cut short: Production is version {finished[-1].move.to} again."


def _target(standing: Standing, to: int | None) -> int:
    if to is not None:
        return to
    if PREVIOUS not in standing.aliases:
        raise Refused("There is no Previous version to go back to.", "Name one: rollback --to VERSION.")
    return standing.aliases[PREVIOUS]


def _was_production(standing: Standing, version: ModelVersion) -> bool:
    return version.version in standing.record.champions or PROMOTED_TAG in version.tags


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
    return f"Production is now version {version}, requested by {request.move.who} and approved by {mover.who}."
