"""A mover that is killed between any two of its writes; whoever comes next finishes the move."""

import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import FraudError
from pipelines.promotion.mover import Mover
from stores.history import History
from stores.moves import Kind
from stores.registry import Registry
from stores.released import SIGNATURE_TAG
from stores.releases import Releases
from tests.unit.pipelines.promotion import mortal
from tests.unit.pipelines.promotion.conftest import promoted, statement
from tests.unit.pipelines.promotion.mortal import COMMANDS, DIED, Life, mortal_mover

NOTHING, CHALLENGED = {"Production": 2, "Previous": 1}, {"Production": 2, "Previous": 1, "Challenger": 4}
AFTER = {
    "promote": {"Production": 3, "Previous": 2},
    "force": {"Production": 3, "Previous": 2},
    "challenge": CHALLENGED,
    "go_back": {"Production": 1},
    "grant": {"Production": 4, "Previous": 2},
    "settle": {"Production": 4, "Previous": 2},
}
"""The aliases once a command is through; versions 1 and 2 were promoted before."""


class Killed(BaseException):
    """Nothing catches it, nothing is cleaned up for it."""


def die() -> None:
    raise Killed


@pytest.fixture
def prepared(mover: Mover, other: Mover, versions, mlflow_store: MlflowClient) -> Callable[[str], None]:
    """Bring about what a command finds."""

    def prepare(command: str) -> None:
        promoted(mover, 1, 2)
        if command == "promote":
            mover.move(mover.settle(), Kind.CHALLENGE, mover.registry.version(3), "refused at first")
        if command == "grant":
            other.move(other.settle(), Kind.REQUEST, other.registry.version(4), "may I?")
        if command == "settle":
            mlflow_store.set_registered_model_alias(mover.registry.model_name, "production", "4")

    return prepare


def deaths(act: Callable[[int], bool]) -> Iterator[int]:
    """Let it die before every write, one after another, until it lives to the end."""
    writes = 0
    while act(writes):
        yield writes
        writes += 1


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_again_finishes_what_was_cut_short(
    command: str,
    prepared,
    mover: Mover,
    registry: Registry,
    releases: Releases,
    released: Path,
    history: History,
    check,
) -> None:
    prepared(command)

    def act(writes: int) -> bool:
        life = Life(writes, die)
        try:
            COMMANDS[command](mortal_mover(registry.tracking_uri, registry.model_name, released, life))
        except Killed:
            return True
        return False

    # every death goes one write further than the last: later ones find what the earlier ones left
    assert len(list(deaths(act))) > 2
    assert registry.aliases() == AFTER[command]
    production = AFTER[command]["Production"]
    assert releases.current().version == production
    assert check().ok, check().to_dict()
    if command == "settle":  # moved in MLflow's page: the promotion says nothing of it
        assert releases.current().signature is None
    else:
        assert statement(registry, production).version == production
        assert releases.current().signature == registry.version(production).tags[SIGNATURE_TAG]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "writes"), [*(("promote", n) for n in range(13)), *(("go_back", n) for n in range(16))]
)
def test_any_other_mover_finishes_it_too(
    command: str, writes: int, prepared, other: Mover, registry: Registry, released: Path, history, check
) -> None:
    prepared(command)
    before, last = registry.aliases(), history.read().last
    with pytest.raises(Killed):
        COMMANDS[command](mortal_mover(registry.tracking_uri, registry.model_name, released, Life(writes, die)))
    finished = other.settle().finished
    if writes == 0:  # not even claimed
        assert (registry.aliases(), finished) == (before, ())
    else:
        assert registry.aliases() == AFTER[command]
        assert [entry.number for entry in finished] == [last + 1]
    assert check().ok, check().to_dict()
    assert history.read().last == last + (writes > 0)


def test_a_forced_promotion_is_told_for_ever(
    prepared, mover, registry: Registry, releases, released, history: History
) -> None:
    prepared("force")
    registry.tag(3, "gate.passed", "false")
    registry.tag(3, "gate.failures", "recall: 0.5 (limit 0.7)")
    with pytest.raises(Killed):
        COMMANDS["force"](mortal_mover(registry.tracking_uri, registry.model_name, released, Life(2, die)))
    mover.settle()
    assert history.read().entries[-1].move.gate == "forced"
    assert registry.version(3).tags["gate.forced"] == "anna: no time"
    gate = {"passed": False, "judged": True, "failures": "recall: 0.5 (limit 0.7)", "forced": "anna: no time"}
    assert releases.current().gate == gate


def process(command: str, registry: Registry, released: Path, writes: int) -> ForkServerProcess:
    """Forked from a process that has imported what it needs, which takes longer than a whole move."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [mortal.__name__, "mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite"]
    )
    complaint = released.with_name("complaint")
    arguments = (command, registry.tracking_uri, registry.model_name, released, writes, complaint)
    started = context.Process(target=mortal.run, args=arguments)
    started.start()
    return started


@pytest.mark.slow
@pytest.mark.parametrize("command", ["promote", "go_back"])
def test_a_real_process_that_exits_before_every_write(
    command: str, prepared, registry: Registry, released: Path, check
) -> None:
    prepared(command)

    def act(writes: int) -> bool:
        mover = process(command, registry, released, writes)
        mover.join(120)
        assert mover.exitcode in (0, DIED), released.with_name("complaint").read_text()
        return mover.exitcode == DIED

    assert len(list(deaths(act))) > 2
    assert registry.aliases() == AFTER[command]
    assert check().ok, check().to_dict()


@pytest.mark.parametrize("kills", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.soak)])
def test_kill_9_at_any_moment(
    kills: int, prepared, mover: Mover, registry: Registry, released: Path, history: History, check
) -> None:
    """Rollback and promotion in turn, each killed at a random moment of its life; the next one finds a sound state."""
    prepared("go_back")
    draw, longest = random.Random(5), 0.3
    turn = killed = 0
    while killed < kills:
        assert turn < 20 * kills
        command = "go_back" if turn % 2 else "promote"
        running = process(command, registry, released, 1_000)
        deadline = time.monotonic() + 60
        grown = history.read().last
        while running.is_alive() and history.read().last == grown and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, longest))
        running.kill()
        running.join()
        turn += 1
        if running.exitcode == -signal.SIGKILL:
            killed += 1
        else:  # it was through before
            longest /= 2
    try:
        promoted(mover, 4)
    except FraudError as error:
        pytest.fail(str(error))
    assert registry.aliases()["Production"] == 4
    assert check().ok, check().to_dict()
