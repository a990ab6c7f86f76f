"""Following the registry: what makes the watcher swap, and what does not."""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ml_project.errors import InvalidBundle, Unavailable
from serving.live_model import ModelSlot
from serving.model_follower import ModelFollower
from stores.attestation import SigningKey, Statement, TrustedKeys
from stores.released import gated, signed
from stores.releases import Release
from tests.support.creditcard import CREDITCARD, GROWN
from tests.support.shop import SHOP


@pytest.fixture
def slot() -> ModelSlot:
    return ModelSlot()


@pytest.fixture
def watcher(slot, source) -> ModelFollower:
    return ModelFollower(lambda: source, slot, CREDITCARD, poll_seconds=10, threads=1)


def release(version: int, age: timedelta) -> Release:
    published = datetime.now(UTC) - age
    return Release(model_name="m", version=version, location="", files={}, gate={}, published_at=published)


def test_nothing_promoted(watcher, slot) -> None:
    watcher.check()
    assert slot.current is None
    assert slot.trouble.message == "The registry names no Production version. Promote one."


def test_follows_a_promotion(watcher, slot, source, make_scorer) -> None:
    first, second = make_scorer(alert=0.3), make_scorer(alert=0.6)
    source.promote(1, first)
    watcher.check()
    watcher.check()
    assert slot.current.scorer is first
    assert source.loads == ["digest-of-1"]
    source.promote(2, second)
    watcher.check()
    assert slot.current.scorer is second
    assert slot.current.version == "2"
    assert slot.trouble is None


@pytest.mark.parametrize(
    "failure", [InvalidBundle("Wrong digest."), Unavailable("Storage is unreachable."), RuntimeError("surprise")]
)
def test_a_failed_load_keeps_the_old_model(watcher, slot, source, scorer, failure) -> None:
    source.promote(1, scorer)
    watcher.check()
    source.promote(2, failure)
    watcher.check()
    assert slot.current.version == "1"
    assert str(failure).strip(".") in slot.trouble.message


def test_a_model_that_cannot_warm_up_does_not_go_live(watcher, slot, source, scorer) -> None:
    source.promote(1, object())
    watcher.check()
    assert slot.current is None
    assert slot.trouble.message.startswith("Unexpected AttributeError")


def test_a_bad_bundle_is_not_fetched_at_every_look(watcher, slot, source, scorer) -> None:
    source.promote(1, InvalidBundle("Wrong digest."))
    watcher.check()
    watcher.check()
    assert source.loads == ["digest-of-1"]
    source.failure = Unavailable("The server is unreachable.")
    watcher.check()
    source.failure = None
    watcher.check()
    assert slot.trouble.message == "Version 1 cannot go live: Wrong digest."
    assert source.loads == ["digest-of-1"]
    source.promote(2, scorer)
    watcher.check()
    assert slot.current.version == "2"
    assert slot.trouble is None


def test_a_repaired_bundle_goes_live_after_a_while(slot, source, scorer) -> None:
    watcher = ModelFollower(lambda: source, slot, CREDITCARD, poll_seconds=1e-9, threads=1)
    source.promote(1, InvalidBundle("Wrong digest."))
    watcher.check()
    source.scorers["digest-of-1"] = scorer
    watcher.check()
    assert slot.current.version == "1"


def test_an_outage_is_logged_once_and_recovery_too(watcher, slot, source, scorer, caplog) -> None:
    source.promote(1, scorer)
    watcher.check()
    caplog.set_level(logging.INFO, "serving.model_follower")
    caplog.clear()
    for address in ("0x7f01", "0x7f02"):
        source.failure = Unavailable(f"<HTTPConnection object at {address}> to postgresql://u:p@db/x: refused.")
        watcher.check()
    assert slot.trouble.message == "<HTTPConnection object at ***> to postgresql://***@db/x: refused."
    source.failure = None
    watcher.check()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert slot.trouble is None


def test_an_unexpected_failure_is_logged_whole(watcher, source, caplog) -> None:
    source.failure = RuntimeError("surprise")
    watcher.check()
    assert caplog.records[-1].levelname == "ERROR"
    assert caplog.records[-1].exc_info[1] is source.failure


def test_a_source_that_cannot_be_made_is_tried_again(slot, source, scorer) -> None:
    source.promote(1, scorer)
    outcomes = iter([ImportError("no mlflow"), source])

    def connect():
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    watcher = ModelFollower(connect, slot, CREDITCARD, poll_seconds=10, threads=1)
    watcher.check()
    assert slot.trouble.message == "Unexpected ImportError: no mlflow"
    watcher.check()
    assert slot.current.version == "1"


def test_an_alias_that_is_taken_away_leaves_the_model(watcher, slot, source, scorer) -> None:
    source.promote(1, scorer)
    watcher.check()
    source.live = None
    watcher.check()
    assert slot.current.version == "1"
    assert slot.trouble.message.startswith("The registry names no Production version.")


def test_starts_from_the_release_pointer(watcher, slot, source, scorer) -> None:
    source.promote(4, scorer, release(4, timedelta(days=1)))
    watcher.check()
    assert slot.current.live.named_by == "release pointer"
    source.promote(4, scorer)
    watcher.check()
    assert slot.current.live.named_by == "registry"
    assert source.loads == ["digest-of-4"]


def test_an_outage_does_not_roll_back_to_an_older_release(watcher, slot, source, scorer) -> None:
    source.promote(5, scorer)
    watcher.check()
    source.promote(4, scorer, release(4, timedelta(days=1)))
    watcher.check()
    assert slot.current.version == "5"
    assert "version 5 stays" in slot.trouble.message
    source.promote(6, scorer, release(6, timedelta(seconds=-1)))
    watcher.check()
    assert slot.current.version == "6"


def test_what_the_registry_said_last_may_come_from_the_releases(watcher, slot, source, scorer) -> None:
    source.promote(5, scorer)
    watcher.check()
    source.promote(6, Unavailable("The artifacts are unreachable."))
    watcher.check()
    assert slot.current.version == "5"
    source.promote(6, scorer, release(6, timedelta(days=1)))
    watcher.check()
    assert slot.current.version == "6"


def test_who_wants_a_look_does_not_wait_for_the_next(slot, source, scorer) -> None:
    watcher = ModelFollower(lambda: source, slot, CREDITCARD, poll_seconds=3600, threads=1)
    source.promote(1, scorer)
    watcher.start()
    try:
        for version in (1, 2, 3):
            source.promote(version, scorer)
            watcher.look_now()
            deadline = time.monotonic() + 60
            while slot.current is None or slot.current.live.version != version:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        watcher.stop()


def test_a_version_past_the_gate_does_not_go_live(slot, source, scorer) -> None:
    gates = {1: {"passed": True}, 2: {}, 3: {"passed": False, "judged": True, "forced": "anna: no time"}}
    watcher = ModelFollower(
        lambda: gated(source, lambda live: gates[live.version]), slot, CREDITCARD, poll_seconds=10, threads=1
    )
    source.promote(1, scorer)
    watcher.check()
    source.promote(2, scorer)
    watcher.check()
    assert slot.current.version == "1"
    assert slot.trouble.message.startswith(
        "Version 2 cannot go live: FRAUD_REQUIRE_GATE is on, and the gate never judged it"
    )
    assert slot.swaps == {"live": 1, "refused": 1, "failed": 0}
    source.promote(3, scorer)
    watcher.check()
    assert (slot.current.version, slot.trouble) == ("3", None)


def test_an_unsigned_version_leaves_the_old_one_until_it_is_signed(slot, source, scorer) -> None:
    key = SigningKey("a secret of the promotion, 32 letters")
    watcher = ModelFollower(
        lambda: signed(source, TrustedKeys([key.public]), "m"), slot, CREDITCARD, poll_seconds=3600, threads=1
    )

    def promote(version: int, by: str | None) -> None:
        source.promote(version, scorer)
        source.live = replace(source.live, signature=by)
        watcher.check()

    def statement(version: int) -> str:
        said = {"model": "m", "version": version, "digest": f"digest-of-{version}", "gate": "passed"}
        return key.sign(Statement.model_validate({**said, "approved_by": "anna", "when": datetime.now(UTC)}))

    promote(1, statement(1))
    promote(2, None)
    assert slot.current.version == "1"
    assert slot.trouble.message.startswith(
        "Version 2 cannot go live: FRAUD_TRUSTED_KEYS is set. It is not signed by the promotion."
    )
    promote(2, statement(1))
    assert slot.current.version == "1"
    promote(2, statement(2))  # at once, not after so many looks at the same files
    assert (slot.current.version, slot.trouble) == ("2", None)
    promote(1, statement(1))
    assert slot.current.version == "1"


def test_trouble_says_why_the_release_pointer_stands_in(watcher, slot, source, scorer) -> None:
    source.promote(5, scorer, release(5, timedelta(days=1)))
    source.live = replace(source.live, registry_fault="The MLflow server at http://u:p@m took longer than 10 s.")
    watcher.check()
    assert slot.current.version == "5"
    assert slot.trouble.message == (
        "The MLflow server at http://***@m took longer than 10 s. The release pointer stands in."
    )
    source.promote(5, scorer)
    watcher.check()
    assert (slot.current.live.named_by, slot.trouble) == ("registry", None)


def test_a_version_for_other_fields_does_not_go_live(slot, source, scorer) -> None:
    watcher = ModelFollower(lambda: source, slot, SHOP, poll_seconds=10, threads=1)
    source.promote(1, scorer)
    watcher.check()
    assert slot.current is None
    assert slot.swaps["refused"] == 1
    assert "It scores transactions of the contract creditcard, version 1; this gateway is for shop" in str(slot.trouble)
    assert "version 1: it is creditcard, version 1, not shop, version 1. Set FRAUD_CONTRACT" in slot.trouble.message


@pytest.mark.parametrize(("mine", "its"), [(CREDITCARD, GROWN), (GROWN, CREDITCARD)])
def test_a_field_that_may_be_missing_comes_and_goes(slot, source, make_scorer, mine, its) -> None:
    watcher = ModelFollower(lambda: source, slot, mine, poll_seconds=10, threads=1)
    source.promote(1, make_scorer(contract=its))
    watcher.check()
    assert slot.trouble is None
    assert slot.current.contract == its
