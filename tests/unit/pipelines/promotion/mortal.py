"""Stores whose process dies before the n-th thing that it writes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_project.errors import FraudError
from pipelines.promotion.mover import Mover, Seal
from pipelines.promotion.rollback import approve, rollback
from stores.attestation import SigningKey
from stores.history import History
from stores.moves import Kind
from stores.registry import Registry
from stores.releases import open_releases

WRITES = {"register", "claim", "end", "move", "tag", "tag_model", "describe", "publish"}
DIED = 86
KEY = SigningKey("what the promotion of these tests signs with")


class Life:
    """Ends before write number ``writes + 1``."""

    def __init__(self, writes: int, die: Callable[[], None]) -> None:
        self.left = writes
        self._die = die

    def spend(self) -> None:
        if self.left == 0:
            self._die()
        self.left -= 1


class Mortal:
    """Passes everything on to a store while the life lasts."""

    def __init__(self, store: object, life: Life) -> None:
        self._store = store
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        def write(*arguments: Any) -> Any:
            self._life.spend()
            return found(*arguments)

        return write


def mortal_mover(uri: str, model: str, releases: Path, life: Life, who: str = "anna") -> Mover:
    stores = Registry(uri, model), History(uri, model), open_releases(str(releases))
    return Mover(*(Mortal(store, life) for store in stores), who, "1.0", Seal(KEY))


def promote(mover: Mover) -> None:
    standing = mover.settle()
    if standing.aliases["Production"] != 3:
        mover.move(standing, Kind.PROMOTE, mover.registry.version(3), "better")


def force(mover: Mover) -> None:
    standing = mover.settle()
    if standing.aliases["Production"] != 3:
        mover.move(standing, Kind.PROMOTE, mover.registry.version(3), "no time", "forced")


def challenge(mover: Mover) -> None:
    standing = mover.settle()
    if standing.aliases.get("Challenger") != 4:
        mover.move(standing, Kind.CHALLENGE, mover.registry.version(4), "refused")


def go_back(mover: Mover) -> None:
    rollback(mover, "bad")


def grant(mover: Mover) -> None:
    approve(mover, 4, "looked at it")


def settle(mover: Mover) -> None:
    mover.settle()


COMMANDS: dict[str, Callable[[Mover], None]] = {
    command.__name__: command for command in (promote, force, challenge, go_back, grant, settle)
}


def run(command: str, uri: str, model: str, releases: Path, writes: int, complaint: Path) -> None:
    """What a process does that is to die by ``os._exit``; a refusal is written to a file."""
    mover = mortal_mover(uri, model, releases, Life(writes, lambda: os._exit(DIED)))
    try:
        COMMANDS[command](mover)
    except FraudError as error:
        complaint.write_text(str(error))
        sys.exit(1)
