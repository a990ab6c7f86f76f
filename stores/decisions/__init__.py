"""Every decision kept: SQLite by default, PostgreSQL by URL, and a local spool while either is away."""

from stores.decisions.adding import Replayed
from stores.decisions.adding_segments import SegmentStored
from stores.decisions.engine import open_engine
from stores.decisions.errors import Busy, Conflict, DamagedSegment, InvalidKey, MissingScope, SpoolFull
from stores.decisions.key_copy import Key
from stores.decisions.keys import SCOPES, Keys
from stores.decisions.labelling import LabelItem, Labelled
from stores.decisions.leases import Lease
from stores.decisions.migrate import migrate
from stores.decisions.pages import Page, PageFilter
from stores.decisions.records import DecisionRecord, Found, Label, Stored
from stores.decisions.segments import Chunk
from stores.decisions.shadow import ShadowDecision
from stores.decisions.spool import Spool
from stores.decisions.store import DecisionStore
from stores.decisions.writer import GroupWriter

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
    "InvalidKey",
    "Key",
    "Keys",
    "Label",
    "LabelItem",
    "Labelled",
    "Lease",
    "MissingScope",
    "Page",
    "PageFilter",
    "Replayed",
    "SegmentStored",
    "ShadowDecision",
    "Spool",
    "SpoolFull",
    "Stored",
    "migrate",
    "open_engine",
]
