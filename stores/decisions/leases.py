"""Leases: who may do a piece of work that only one process may do at a time, until when.

A lock would stay forever once its holder is killed; a lease runs out unless its holder renews it. The time is the
database's where it has a clock (PostgreSQL), so that machines need not agree on theirs; a SQLite file is used from one
machine. Either clock may be set back: no lease has more time left than it was taken for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from stores.decisions.schema import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds what, since when and for how many more seconds."""

    name: str
    holder: str
    since: datetime
    seconds: float


def take(connection: Connection, name: str, holder: str, seconds: float) -> Lease:
    """Take a lease that is free, run out or already this holder's; the lease as it stands then.

    Of two who find none, the database lets one insert it; the other gets an IntegrityError and looks again.
    """
    ours = leases.c.name == name
    standing = connection.execute(select(leases).where(ours).with_for_update()).one_or_none()
    now = _now(connection)
    if standing is not None and standing.holder != holder and standing.expires_at > now:
        left = (standing.expires_at - now).total_seconds()
        if left > standing.seconds:  # the clock was set back since; a holder that lives renews it in time
            connection.execute(update(leases).where(ours).values(expires_at=now + timedelta(seconds=standing.seconds)))
        return Lease(name, standing.holder, standing.since, min(left, standing.seconds))
    held = {"holder": holder, "since": now, "seconds": seconds, "expires_at": now + timedelta(seconds=seconds)}
    statement = insert(leases).values(name=name) if standing is None else update(leases).where(ours)
    connection.execute(statement.values(**held))
    return Lease(name, holder, now, seconds)


def keep(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Hold it for so long from now; False when it is another's by now, or gone."""
    ours = leases.c.name == name, leases.c.holder == holder
    until = _now(connection) + timedelta(seconds=seconds)
    renewed = update(leases).where(*ours).values(seconds=seconds, expires_at=until)
    return connection.execute(renewed).rowcount == 1


def give_back(connection: Connection, name: str, holder: str) -> None:
    """Free it at once."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def _now(connection: Connection) -> datetime:
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    # the statement's time, not the transaction's: that one may have waited for the row
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)
