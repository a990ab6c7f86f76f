"""What a move does to the aliases. Pure: registry and history as values in, aliases before and after out."""

from collections.abc import Mapping

from stores.moves import ALIASES, CHALLENGER, PREVIOUS, PRODUCTION, Kind, Record, rolled_back

Change = dict[str, int | None]


def planned(kind: Kind, record: Record, aliases: Mapping[str, int], version: int) -> Change:
    """The aliases that a move gives new versions, in the order in which they are set.

    ``Previous`` is what a rollback would bring back: after a promotion the version before it, after a rollback the one
    that was Production before the version put back. A version that becomes Production is Challenger no longer.
    """
    if kind is Kind.REQUEST:
        return {}
    if kind is Kind.CHALLENGE:
        return {CHALLENGER: version}
    change: Change = {}
    if kind is Kind.ROLLBACK:
        lineage = rolled_back(record.lineage, version)
        change[PREVIOUS] = lineage[-2] if len(lineage) > 1 else None
    elif PRODUCTION in aliases:
        change[PREVIOUS] = aliases[PRODUCTION]
    change[PRODUCTION] = version
    if aliases.get(CHALLENGER) == version:
        change[CHALLENGER] = None
    return change


def moved_outside(record: Record, aliases: Mapping[str, int]) -> tuple[str, Change] | None:
    """The first alias that is not where our moves left it, and what that changed; None where all are.

    Whoever moves Production in MLflow's page leaves the other aliases as they were: they follow here.
    """
    strange = [alias for alias in ALIASES if aliases.get(alias) != record.aliases.get(alias)]
    if not strange:
        return None
    alias = strange[0]
    version = aliases.get(alias)
    if alias != PRODUCTION or version is None:
        return alias, {alias: version}
    change = planned(Kind.OUTSIDE, record, record.aliases, version)
    return alias, {name: number for name, number in change.items() if name == PRODUCTION or name not in strange}
