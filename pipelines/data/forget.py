"""Erasing personal keys wherever the platform keeps them: history, decisions, the spool, and exports of `purge`.

The bank's own table, what was ingested and what was trained from it are the bank's to clean.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from pyarrow import compute

from ml_project.cleaning import LONGEST_NAME
from ml_project.contract import Contract
from ml_project.errors import InvalidInput, Unavailable
from pipelines.console import step
from pipelines.data.files import whole_parquet
from pipelines.data.parquet_pages import check_pages
from pipelines.data.places import find_files
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionStore, Holdings, PersonalKey, Spool, open_store
from stores.decisions.archive import CONTRACTS
from stores.decisions.forgetting import compact
from stores.decisions.keyless import decisions_with, rows_with, without_key
from stores.decisions.segments import MAX_ROWS
from stores.key_hash import KeyHash
from stores.objects import Objects

_SPOOL_SECONDS: Final = 30.0
"""How long gateways that run may take to bring their spool into the database."""

_PAUSE_SECONDS: Final = 0.2


def personal_key(given: str, contract: Contract, key_hash: KeyHash | None) -> PersonalKey:
    """A key as the command line has it, ``entity=key``, in the forms in which it may be kept.

    With a secret these are its hash, and the key itself: it may have been kept before the secret was set.

    Raises
    ------
    InvalidInput
        For what is no key, or no entity of the contract.
    """
    entity, _, name = given.partition("=")
    if not name or len(name) > LONGEST_NAME:
        raise InvalidInput(f"{given!r} is not a key.", f"Write entity=key, the key of 1 to {LONGEST_NAME} characters.")
    if entity not in contract.entities:
        known = ", ".join(contract.entities)
        remedy = f"It has {known}." if known else "Set FRAUD_CONTRACT to the one that does."
        raise InvalidInput(f"{contract} has no entity {entity}.", remedy)
    forms = (name,) if key_hash is None else dict.fromkeys((key_hash.of(entity, name), name))
    return PersonalKey(entity, tuple(forms))


@dataclass(frozen=True)
class Found:
    """Where a key is kept, or was.

    Attributes
    ----------
    held : Holdings
        In the decision database.
    spooled : int
        Decisions that wait for it.
    exported, files : int
        Decisions in exports, and the files that hold them.
    set_aside : tuple of Path
        Files of the spool that hold it and cannot be read.
    """

    held: Holdings
    spooled: int = 0
    exported: int = 0
    files: int = 0
    set_aside: tuple[Path, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is any of it."""
        return self != Found(Holdings())

    @property
    def sentence(self) -> str:
        """For the screen."""
        spooled = f" and {self.spooled:,} more in the spool" if self.spooled else ""
        exported = f", {self.exported:,} exported ones in {self.files:,} files" if self.files else ""
        exported += f", unreadable ones in {len(self.set_aside)} files of the spool" if self.set_aside else ""
        return (
            f"{self.held.decisions:,} decisions{spooled}{exported}; {self.held.past:,} past transactions of its own, "
            f"{self.held.counted:,} in the histories of others, which stay without the key"
        )


class Forgetter:
    """Looks for keys, and erases them; use it in a ``with`` statement.

    Parameters
    ----------
    settings : PipelineSettings
        The contract, the database and the spool; and the secret, if keys are kept as hashes.
    exports : sequence of str
        Folders or ``s3://bucket/prefix`` that `purge` exported to.

    Raises
    ------
    InvalidInput
        When a place has no exports, or there is no decision database.
    Unavailable
        When the database or S3 does not answer.
    """

    def __init__(self, settings: PipelineSettings, exports: Sequence[str]) -> None:
        self._contract = settings.data_contract
        self._exports = [export for location in exports for export in exports_at(location, settings.s3_endpoint_url)]
        self._spool = Spool(settings.decision_spool)
        self._store: DecisionStore = open_store(settings.decisions_url, existing=True)

    def __enter__(self) -> "Forgetter":
        return self

    def __exit__(self, *_error: object) -> None:
        self._store.close()

    def look(self, key: PersonalKey) -> Found:
        """Where a key is kept; nothing is changed."""
        held = self._store.forgetting(self._contract.contract, key).held()
        exported = [count for export in self._exports if (count := export.rows(self._contract, key))]
        return Found(held, self._spooled([key]), sum(exported), len(exported), self._set_aside([key]))

    def erase(self, keys: Sequence[PersonalKey], *, compacted: bool = False) -> list[Found]:
        """Erase keys; what was erased of each. Killed at any moment, it goes on when it is called again.

        Parameters
        ----------
        keys : sequence of PersonalKey
        compacted : bool
            Also write SQLite's file anew; who writes to it waits meanwhile.

        Raises
        ------
        Unavailable
            Before anything is erased, when a gateway goes on spooling decisions with one of the keys.
        InvalidInput
            In the end, when files of the spool that cannot be read hold one of the keys.
        """
        with step("bring the spool into the database"):
            self._empty_spool(keys)
        with step("erase"):
            found = [self._erase(key) for key in keys]
        if compacted:
            with step("write the database's file anew"):
                compact(self._store.engine)
        left = self._set_aside(keys)
        if left:
            raise InvalidInput(
                f"All is erased but for what files of the spool hold that cannot be read: {', '.join(map(str, left))}.",
                "Delete them once they are no longer needed.",
            )
        return found

    def _erase(self, key: PersonalKey) -> Found:
        held = self._store.forgetting(self._contract.contract, key).erase()
        exported = [count for export in self._exports if (count := export.erase(self._contract, key))]
        return Found(held, 0, sum(exported), len(exported))

    def _set_aside(self, keys: Sequence[PersonalKey]) -> tuple[Path, ...]:
        texts = {text for key in keys for form in key.forms for text in (json.dumps(form).encode(), form.encode())}
        return tuple(self._spool.set_aside_with(sorted(texts)))

    def _spooled(self, keys: Sequence[PersonalKey]) -> int:
        return sum(decisions_with(item, key) for item in self._spool.waiting() for key in keys)

    def _empty_spool(self, keys: Sequence[PersonalKey]) -> None:
        deadline = time.monotonic() + _SPOOL_SECONDS
        self._spool.recall()
        self._spool.replay(self._store)
        while self._spooled(keys):  # in files that gateways write
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Nothing was erased: a gateway keeps decisions in {self._spool.folder}, and its database is "
                    "unreachable.",
                    "Run it again when the gateway's /health says that the database is back.",
                )
            time.sleep(_PAUSE_SECONDS)
            self._spool.replay(self._store)


@dataclass(frozen=True)
class Export:
    """A file of decisions that `purge` wrote."""

    place: Objects
    name: str

    def rows(self, contract: Contract, key: PersonalKey) -> int:
        """How many of its decisions have a key.

        Raises
        ------
        InvalidInput
            When it is no export, or damaged.
        """
        with self.place.open(self.name) as source, whole_parquet(self.name):
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
            if "hybrid_score" not in file.schema_arrow.names:
                raise InvalidInput(f"{self.name} is not an export of decisions.", _EXPORTED)
            if key.entity not in file.schema_arrow.names or not _is_about(file, contract):
                return 0
            check_pages(source, file.metadata, self.name)
            columns = (file.read_row_group(group, [key.entity]) for group in range(file.num_row_groups))
            return sum(compute.sum(rows_with(column, key)).as_py() or 0 for column in columns)

    def erase(self, contract: Contract, key: PersonalKey) -> int:
        """Write it anew without a key, if it has it; how many of its decisions had it."""
        count = self.rows(contract, key)
        if not count:
            return 0
        with self.place.open(self.name) as source, self.place.creating(self.name) as path:
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
            with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
                for group in range(file.num_row_groups):
                    with whole_parquet(self.name):
                        table = file.read_row_group(group)
                    writer.write_table(without_key(table, key, rows_with(table, key)), row_group_size=MAX_ROWS)
        return count


_EXPORTED: Final = "Give the folder that `purge` exported to."


def _is_about(file: Any, contract: Contract) -> bool:
    described = json.loads((file.schema_arrow.metadata or {}).get(CONTRACTS, b'{"contracts": {}}'))
    return any(each["contract"] == contract.contract for each in described["contracts"].values())


def exports_at(location: str, endpoint_url: str) -> Iterator[Export]:
    """The exports of decisions at a location.

    Raises
    ------
    InvalidInput
        When there are none.
    """
    place, names = find_files(location, endpoint_url)
    named = [name for name in names if name.rpartition("/")[2].startswith("decisions-")]
    if not named:
        raise InvalidInput(f"{location}: no decisions-*.parquet there.", _EXPORTED)
    for name in named:
        yield Export(place, name)
