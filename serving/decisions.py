"""The gateway's decision store: opened at the start, used by the routes, flushed at the end.

A database that is unreachable at the start is prepared as soon as it is back; until then decisions go to the spool.
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final, Literal, TypeVar, cast

import anyio
import numpy as np
from anyio import to_thread

from ml_project.contract import Contract
from ml_project.errors import Refused, Unavailable
from serving.history import PastTransactions, events_of
from serving.live_model import LiveModel
from serving.predictions import Prediction, Predictions, chunk_of_many, records_of, with_firsts
from serving.settings import GatewaySettings
from serving.shadow import Shadow
from serving.telemetry.metrics import StoreFigures
from serving.telemetry.request import RequestRecord, stage
from serving.transactions import Transactions
from stores.decisions import (
    SCOPES,
    Busy,
    DecisionRecord,
    DecisionStore,
    Found,
    GroupWriter,
    Keys,
    Label,
    LabelItem,
    Outcome,
    PageFilter,
    QueueTotals,
    Spool,
    Stored,
    migrate,
)
from stores.decisions.event_plan import EventPlan

_RETRY_SECONDS: Final = 1.0

_READERS: Final = 4
_REVIEWERS: Final = 2
"""Threads for reading and for labels. The others, which predictions of batches need, never wait for either."""

_THREAD_SECONDS: Final = 10.0
"""How long a reader or a label waits for its thread."""

_EVENTS: Final = 2_000
"""Past transactions in one commit: predictions wait for none of them for long."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Decisions:
    """Keeps predictions and finds them again; its methods without ``async`` block, and belong on worker threads.

    Those that read go through `reading`, and `label` through `labelling`: few threads each, so that many of them leave
    the rest to predictions.

    Parameters
    ----------
    settings : GatewaySettings
    store : DecisionStore
        Closed by `close`; its database may be away until then.
    shadow : Shadow, optional
        Is offered each new decision once it is kept.
    """

    def __init__(self, settings: GatewaySettings, store: DecisionStore, shadow: Shadow | None = None) -> None:
        self._settings = settings
        self._shadow = shadow
        self.store = store
        self.keys = Keys(store.engine)
        self._contract = settings.data_contract.contract
        self._spool = Spool(settings.decision_spool)
        self._writer = GroupWriter(store, self._spool)
        self.past = PastTransactions(store, self._spool.size)
        self._readers = anyio.CapacityLimiter(_READERS)
        self._reviewers = anyio.CapacityLimiter(_REVIEWERS)
        self._closing = threading.Event()
        self._prepared = threading.Event()
        self._waiter = threading.Thread(target=self._wait_for_database, name="database-waiter", daemon=True)

    def open(self) -> None:
        """Prepare the database and begin to keep decisions; blocks.

        Raises
        ------
        FraudError
            When the database cannot be used at all. One that does not answer is waited for in the background.
        """
        try:
            self._prepare()
        except Unavailable as error:
            _log.warning("the decision database is unreachable: %s", error)
            self._waiter.start()
        # Not before the tables are there: it replays an earlier process's spool at once.
        self._writer.start()
        self.past.start()
        self.keys.start()

    def prepared(self) -> bool:
        """Whether the database was reached, and has its tables and the bootstrap key."""
        return self._prepared.is_set()

    def figures(self) -> StoreFigures:
        """How the store is doing."""
        return StoreFigures(
            self._writer.waiting, self._writer.database_away, self._spool.size(), *self._spool.set_aside()
        )

    async def reading(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of a call that reads the database, on one of few threads.

        Raises
        ------
        Busy
            When none is free in ten seconds.
        """
        return await _within_share(self._readers, work, *arguments)

    async def labelling(self, items: Sequence[LabelItem], reviewer: str) -> list[dict[str, Any]]:
        """As `label`, on one of few threads.

        Raises
        ------
        Busy
            When none is free in ten seconds.
        """
        return await _within_share(self._reviewers, self.label, items, reviewer)

    def keep(
        self,
        predictions: Predictions,
        requests: Sequence[RequestRecord],
        done: Callable[[list[Prediction | Exception]], object],
    ) -> None:
        """Keep single predictions, one of each request, all of them trials or none.

        When they are on disk, the running loop tells ``done`` the answers; in the place of one stands a `Conflict` when
        its transaction_id was used with other values, or `Unavailable` when it could be kept nowhere.

        Raises
        ------
        Busy
            When too many wait.
        """
        loop = asyncio.get_running_loop()
        trial = requests[0].trial
        records = records_of(replace(predictions, trial=trial), requests, self._settings.review_sample_rate)
        named = replace(predictions, prediction_ids=[record.prediction_id for record in records], trial=trial)
        remembered = self.past.remember(named) if predictions.model.contract.history and not trial else []

        def answer(outcomes: Sequence[Outcome]) -> None:
            if remembered:
                spooled = any(isinstance(each, Stored) and each.kept == "spool" for each in outcomes)
                self.past.settle(remembered, spooled=spooled)
            try:
                answers = self._answers(named, outcomes)
            except Exception as error:  # whatever it is, nobody is left without an answer
                answers = [error] * len(outcomes)
            done(answers)

        def kept(outcomes: Sequence[Outcome]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(answer, outcomes)

        try:
            self._writer.submit(records, kept)
        except Busy:
            self.past.settle(remembered, spooled=False)
            raise

    def _answers(self, predictions: Predictions, outcomes: Sequence[Outcome]) -> list[Prediction | Exception]:
        answers: list[Prediction | Exception | None] = [
            None if isinstance(outcome, Stored) else outcome for outcome in outcomes
        ]
        places: dict[Literal["database", "spool"], dict[int, Stored]] = {}
        for row, outcome in enumerate(outcomes):
            if isinstance(outcome, Stored):
                places.setdefault(outcome.kept, {})[row] = outcome
        for place, stored in places.items():
            kept = replace(predictions if len(stored) == len(outcomes) else predictions.take(list(stored)), kept=place)
            firsts = {at: each.record for at, each in enumerate(stored.values()) if each.repeated}
            if self._shadow is not None and not kept.trial:
                self._shadow.offer(kept, [each.record.received_at for each in stored.values()], firsts.keys())
            for row, answer in zip(stored, with_firsts(kept, firsts).answers(), strict=True):
                answers[row] = answer
        return cast("list[Prediction | Exception]", answers)

    def keep_chunk(self, predictions: Predictions, request: RequestRecord) -> tuple[Predictions, Mapping[int, str]]:
        """Keep a chunk of a batch; what to answer, and the rows whose transaction_id was used with other values.

        The latter come with their first prediction's id.
        """
        if not len(predictions):
            return predictions, {}
        with stage("keep"):
            chunk = chunk_of_many(predictions, request, self._settings.review_sample_rate)
            stored = self._writer.keep_segment(chunk)
            named = replace(predictions, prediction_ids=chunk.prediction_ids, trial=request.trial)
            if stored.kept == "spool" and predictions.model.contract.history and not request.trial:
                self.past.settle(self.past.remember(named), spooled=True)
        named = replace(named, kept="spool" if stored.kept == "spool" else "database")
        if self._shadow is not None and not request.trial:
            known = stored.firsts.keys() | stored.conflicts.keys()
            self._shadow.offer(named, [chunk.received_at] * len(named), known)
        return with_firsts(named, self._first_records(stored.firsts)), stored.conflicts

    async def adding_events(self, contract: Contract, transactions: Transactions) -> int:
        """Keep transactions that need no decision, each with its name; how many were not known.

        Raises
        ------
        Busy
            When none of few threads is free in ten seconds.
        Unavailable
            When the database does not answer: then they are kept nowhere.
        """
        return await _within_share(self._reviewers, self._add_events, EventPlan.of(contract), transactions)

    def _add_events(self, plan: EventPlan, transactions: Transactions) -> int:
        given = events_of(plan, transactions, [""] * len(transactions.raw))
        groups = (given[begin : begin + _EVENTS] for begin in range(0, len(given), _EVENTS))
        return sum(self.store.add_events(plan, group) for group in groups)

    def label(self, items: Sequence[LabelItem], reviewer: str) -> list[dict[str, Any]]:
        """Add labels; what became of each."""
        return [asdict(outcome) for outcome in self.store.label(items, reviewer, contract=self._contract)]

    async def claiming(
        self, prediction_ids: Sequence[str], reviewer: str, session: str, seconds: float
    ) -> list[dict[str, Any]]:
        """Claim predictions for a reviewer's window, on one of few threads; what became of each.

        Raises
        ------
        Busy
            When none is free in ten seconds.
        """
        found = await _within_share(self._reviewers, self.store.claim, prediction_ids, reviewer, session, seconds)
        return [asdict(each) for each in found]

    def queue_totals(
        self, wanted: Mapping[str, Any], arrived_after: datetime | None, since: datetime, reviewer: str
    ) -> QueueTotals:
        """Counts of what waits for review, and of what was labelled since a moment."""
        return self.store.queue_totals(PageFilter(**wanted, contract=self._contract), arrived_after, since, reviewer)

    def page(
        self, wanted: Mapping[str, Any], after: str | None, limit: int, model: LiveModel | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of predictions as clients see them, and where the next one begins; `PageFilter` by its fields.

        ``model`` explains the approvals in it that go to review; they were answered without reasons. Where its contract
        has an entity, the riskiest of a page come entity by entity (`by_entity`): a reviewer calls a customer once.
        """
        page = self.store.page(PageFilter(**wanted, contract=self._contract), after, limit)
        entities = model.contract.entities if model is not None else ()
        shown = (
            by_entity(page.items, entities[0])
            if entities and wanted.get("order") in ("riskiest", "expected_loss")
            else page.items
        )
        return [described(found) for found in explained(shown, model)], page.after

    def find(self, prediction_id: str, model: LiveModel | None = None) -> dict[str, Any] | None:
        """All that is kept of a prediction, its labels from the oldest on.

        ``model`` explains it where no reasons were kept.
        """
        found = self.store.find(prediction_id)
        if found is None:
            return None
        [found] = explained([found], model, reviewed=False)
        return {
            **described(found),
            "labels": [label_described(label) for label in self.store.labels(prediction_id)],
        }

    def close(self) -> None:
        """Keep all that waits, then stop."""
        self._closing.set()
        self.past.close()
        self._writer.close()
        self.keys.close()
        if self._waiter.is_alive():
            self._waiter.join(_RETRY_SECONDS)
        self.store.close()

    def _first_records(self, firsts: Mapping[int, str]) -> dict[int, DecisionRecord]:
        found = self.store.first_records(sorted(set(firsts.values()))) if firsts else {}
        return {row: found[prediction_id] for row, prediction_id in firsts.items()}

    def _prepare(self) -> None:
        migrate(self.store.engine)
        secret = self._settings.bootstrap_key
        if secret is not None:
            try:
                ensure_bootstrap_key(self.keys, secret.get_secret_value())
            except Refused:  # another worker took the name between our look and the insert
                ensure_bootstrap_key(self.keys, secret.get_secret_value())
        self.keys.any()  # read while the database answers, so that the first check of a key does not need it
        self._prepared.set()

    def _wait_for_database(self) -> None:
        while not self._closing.wait(_RETRY_SECONDS):
            try:
                self._prepare()
            except Unavailable:
                continue
            except Exception:
                _log.exception("the decision database cannot be used")
                continue
            _log.info("the decision database is prepared")
            return


async def _within_share(share: anyio.CapacityLimiter, work: Callable[..., T], *arguments: Any) -> T:
    try:
        # a call that has begun is not given up: its thread would go on all the same
        with anyio.fail_after(_THREAD_SECONDS):
            return await to_thread.run_sync(work, *arguments, limiter=share)
    except TimeoutError:
        raise Busy("Too many queries or labels at once.", "Try again later.") from None


def bootstrap_name(plaintext: str) -> str:
    """The name of the key made from a secret: another secret is another key, and the name reveals nothing about it."""
    return f"bootstrap-{hashlib.sha256(plaintext.encode()).hexdigest()[:8]}"


def ensure_bootstrap_key(keys: Keys, plaintext: str) -> None:
    """Add the bootstrap key unless it is there; one that was revoked stays revoked."""
    keys.ensure(bootstrap_name(plaintext), SCOPES, plaintext)


_LABEL_NAMES: Final = ("legitimate", "fraud")


def described(found: Found) -> dict[str, Any]:
    """A prediction with its newest label."""
    record = found.record
    return {
        **{field.name: getattr(record, field.name) for field in fields(record)},
        "inputs": record.values,
        "contract": {name: getattr(record.contract, name) for name in ("name", "version", "digest")},
        "label": None if found.label is None else label_described(found.label),
        "segment_id": found.segment_id,
        "spooled": found.spooled,
        "duplicate_of": found.duplicate_of,
        "conflicts_with": found.conflicts_with,
        "claim": None if found.claim is None else asdict(found.claim),
    }


def by_entity(items: Sequence[Found], entity: str) -> list[Found]:
    """Predictions in the same order, but those of one key of an entity together, where its first one stands."""
    together: dict[object, list[Found]] = {}
    for place, found in enumerate(items):
        key = found.record.values.get(entity)
        together.setdefault(("", place) if key is None else key, []).append(found)
    return list(chain.from_iterable(together.values()))


def explained(items: Sequence[Found], model: LiveModel | None, *, reviewed: bool = True) -> list[Found]:
    """The same with reasons, kept ones or the live version's if that one decided.

    ``reviewed``: only for what goes to review.
    """
    unexplained = [
        place
        for place, found in enumerate(items)
        if (found.record.review_rate is not None or not reviewed)
        and found.record.reasons is None
        and model is not None
        and found.record.bundle_digest == model.live.digest
    ]
    completed = list(items)
    if model is None or not unexplained:
        return completed
    records = [items[place].record for place in unexplained]
    raw = np.array([record.scored for record in records])
    isolation = np.array([record.isolation_score for record in records])
    for place, record, explanation in zip(unexplained, records, model.explainer.explain(raw, isolation), strict=True):
        reasons = [dict(reason) for reason in explanation.reasons]
        completed[place] = replace(items[place], record=replace(record, reasons=reasons))
    return completed


def label_described(label: Label) -> dict[str, Any]:
    """A label as clients see it."""
    return {
        "label": _LABEL_NAMES[label.label],
        "labelled_at": label.labelled_at,
        "reviewer": label.reviewer,
        "source": label.source,
        "note": label.note,
    }
