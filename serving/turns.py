"""Single predictions: what came in the same turn of the event loop is looked up, scored and kept together.

Nothing waits for company: a turn ends when the loop has nothing else to run. Under load, the turns grow.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ml_project.contract import Contract
from serving.decisions import Decisions
from serving.live_model import LiveModel
from serving.predictions import Explain, Prediction, predict_all, unkept
from serving.telemetry.request import RequestRecord, measured_as
from serving.transactions import Transactions


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    model: LiveModel
    explain: Explain
    transactions: Transactions
    request: RequestRecord
    answer: "asyncio.Future[Prediction]"


class Turns:
    """Predicts single transactions; one event loop uses it.

    Parameters
    ----------
    decisions : Decisions
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._asked: list[_Asked] = []

    async def predict(
        self,
        model: LiveModel,
        transactions: Transactions,
        explain: Explain,
        request: RequestRecord,
    ) -> Prediction:
        """The answer to one transaction, when its prediction is on disk, or at once where it shall not be kept.

        Raises
        ------
        FraudError
            `ScoringFailed` when a score is not finite, `Conflict` when its transaction_id was used with other values,
            `Unavailable` when it could be kept nowhere.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._end)
        answer: asyncio.Future[Prediction] = loop.create_future()
        self._asked.append(_Asked(model, explain, transactions, request, answer))
        return await answer

    def _end(self) -> None:
        asked, self._asked = self._asked, []
        together: dict[tuple[object, ...], list[_Asked]] = {}
        for each in asked:  # a new version may have gone live within the turn
            kind = id(each.model), each.explain, each.request.trial, each.request.keep
            together.setdefault(kind, []).append(each)
        for group in together.values():
            try:
                transactions = Transactions.joined([each.transactions for each in group])
                if group[0].model.contract.history:
                    self._look_up(group[0].model.contract, group, transactions)
                else:
                    self._score(group, transactions)
            except Exception as error:  # whatever it is, nobody is left without an answer
                _fail(group, error)

    def _look_up(self, contract: Contract, group: Sequence[_Asked], transactions: Transactions) -> None:
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        try:
            known = self._decisions.past.at_once(contract, transactions)
        except Exception:  # the reader meets it again, and tells each request; from here nobody would have an answer
            known = None

        def filled(outcome: Transactions | Exception) -> None:
            for each in group:
                each.request.spend("history", started)
            if isinstance(outcome, Exception):
                _fail(group, outcome)
            else:
                self._score(group, outcome)

        def told(outcome: Transactions | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(filled, outcome)

        if known is not None:
            filled(known)
        else:
            self._decisions.past.look_up(contract, transactions, told)

    def _score(self, group: Sequence[_Asked], transactions: Transactions) -> None:
        requests = [each.request for each in group]
        try:
            with measured_as(requests):
                predictions = predict_all(group[0].model, transactions, group[0].explain)
            for each, place in zip(group, predictions.decisions.tolist(), strict=True):
                each.request.decisions[place] = 1
            submitted = time.perf_counter()
            if group[0].request.keep:
                self._decisions.keep(predictions, requests, partial(self._answer, group, submitted))
            else:
                self._answer(group, submitted, unkept(predictions).answers())
        except Exception as error:
            if len(group) == 1:
                _fail(group, error)
            else:  # a request that cannot be scored must not take the others with it
                for row, each in enumerate(group):
                    self._score([each], transactions.take([row]))

    def _answer(self, group: Sequence[_Asked], submitted: float, answers: Sequence[Prediction | Exception]) -> None:
        for each, answer in zip(group, answers, strict=True):
            each.request.spend("keep", submitted)
            if isinstance(answer, Exception):
                _fail([each], answer)
            elif not each.answer.done():  # a client that has gone took its future along
                each.answer.set_result(answer)


def _fail(group: Sequence[_Asked], error: Exception) -> None:
    for each in group:
        if not each.answer.done():
            each.answer.set_exception(error)
