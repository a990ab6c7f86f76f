"""Every decision kept: SQLite by default, PostgreSQL by URL, and a local spool while either is unreachable.

In the order in which a decision passes them:

- `records`: one decision, also as a row of its table; its contract; what the store answers, and the errors.
- `segments`: the rows of a bulk request as one columnar segment, and their ids.
- `writer`: concurrent decisions as one commit, or into the spool; replays the spool once the database is back.
- `spool`: local files that hold decisions while the database is unreachable;
  `spool_format`: their records, which damage elsewhere cannot hide.
- `store`: everything that can be asked of the database, as one class; who may write now.
- `writes`: adding decisions and contracts, and what is known about a transaction_id. `labels`: what they turned out to
  be, and who has them open. `reads`: finding and listing decisions, and those of one contract.
- `events`: past transactions by card, customer or terminal; `event_plan`: what a contract needs of them, and the
  features from history that are made of them. `event_cache`: them in memory; `event_tail`: what was written since;
  `key_pasts`: reading one key's; `timeline`: one key's, and what a window over them comes to; `bulk_history`: many at
  once.
- `dashboard`: counts and samples of a window. `archive`: Arrow tables, exports and purges.
- `forgetting`: erases personal keys, and past transactions that are out of every feature's reach; `keyless`: decisions
  without a key.
- `keys`: the API keys. `leases`: who may do what only one process may do.
- `schema`: the tables. `database`: opening and migrating it (`migrations/`).

The only package here that imports SQLAlchemy and Alembic: import it inside functions where start-up must stay quick.
"""

from stores.decisions.archive import ShadowDecision
from stores.decisions.database import migrate, open_engine, open_store
from stores.decisions.forgetting import Holdings
from stores.decisions.keyless import PersonalKey
from stores.decisions.keys import SCOPES, Key, Keys
from stores.decisions.labels import LabelItem, Labelled
from stores.decisions.leases import Lease
from stores.decisions.reads import Page, PageFilter, QueueTotals
from stores.decisions.records import (
    Conflict,
    DamagedSegment,
    DecisionRecord,
    Found,
    InvalidKey,
    KeptContract,
    Label,
    MissingScope,
    SpoolFull,
    Stored,
)
from stores.decisions.segments import Chunk
from stores.decisions.spool import Spool
from stores.decisions.store import DecisionStore
from stores.decisions.writer import GroupWriter, Outcome
from stores.decisions.writes import Replayed, SegmentStored
from stores.sql import Busy

__all__ = [
    "SCOPES",
    "Busy",
    "Chunk",
    "Conflict",
    "DamagedSegment",
    "DecisionRecord",
    "DecisionStore",
    "Found",
    "GroupWriter",
    "Holdings",
    "InvalidKey",
    "KeptContract",
    "Key",
    "Keys",
    "Label",
    "LabelItem",
    "Labelled",
    "Lease",
    "MissingScope",
    "Outcome",
    "Page",
    "PageFilter",
    "PersonalKey",
    "QueueTotals",
    "Replayed",
    "SegmentStored",
    "ShadowDecision",
    "Spool",
    "SpoolFull",
    "Stored",
    "migrate",
    "open_engine",
    "open_store",
]
