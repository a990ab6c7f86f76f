"""The door: whatever is scored, kept or logged of a transaction has passed it, in whatever format it came."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ml_project.contract import Contract
from ml_project.event_times import EventTimeBounds
from serving.errors import FieldError, InvalidFields
from serving.settings import GatewaySettings
from serving.transactions import Chunk, Transactions
from stores.key_hash import KeyHash


@dataclass(frozen=True, slots=True)
class Admission:
    """Refuses impossible event times, as each transaction is a row of a later training, and hashes keys.

    Attributes
    ----------
    key_hash : KeyHash or None
        None: keys stay as they were sent.
    """

    contract: Contract
    bounds: EventTimeBounds
    key_hash: KeyHash | None

    @staticmethod
    def now(contract: Contract, settings: GatewaySettings) -> "Admission":
        """As the settings have it at this moment."""
        return Admission(contract, settings.event_time_bounds(datetime.now(UTC)), settings.key_hash)

    def one(self, transactions: Transactions) -> Transactions:
        """The transactions with hashed keys.

        Raises
        ------
        InvalidFields
            When one cannot have happened when it says, naming the bounds.
        """
        if self._outside(transactions.event_times):
            raise InvalidFields([{"field": self.contract.event_time, "message": self._misdated}])
        return self._hashed(transactions)

    def chunk(self, chunk: Chunk) -> Chunk:
        """The chunk with hashed keys, its rows of impossible times among its errors."""
        places = self._outside(chunk.transactions.event_times)
        if not places:
            return replace(chunk, transactions=self._hashed(chunk.transactions))
        faults: list[FieldError] = [
            {"row": int(chunk.rows[place]), "field": self.contract.event_time, "message": self._misdated}
            for place in places
        ]
        kept = np.setdiff1d(np.arange(len(chunk.rows)), places)
        errors = sorted([*chunk.errors, *faults], key=lambda error: error["row"])
        return Chunk(self._hashed(chunk.transactions.take(kept.tolist())), chunk.rows[kept], errors)

    def _hashed(self, transactions: Transactions) -> Transactions:
        if self.key_hash is None or not transactions.entities:
            return transactions
        hashed = {name: self.key_hash.of_all(name, names) for name, names in transactions.entities.items()}
        return replace(transactions, entities=hashed)

    def _outside(self, times: list[datetime | None]) -> list[int]:
        return [place for place, moment in enumerate(times) if moment is not None and moment not in self.bounds]

    @property
    def _misdated(self) -> str:
        return f"Event time should lie {self.bounds}"
