"""What a move does, what races do to it, and how moves in MLflow's own page are taken in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from mlflow.tracking import MlflowClient

from ml_project.bundle import BOOSTER_FILE, Bundle
from ml_project.errors import InvalidBundle, LostRace
from pipelines.promotion.finisher import NotPublished
from pipelines.promotion.mover import OUTSIDE, Mover
from pipelines.promotion.verify import Verification
from stores.history import History
from stores.moves import Kind, Move
from stores.objects import LocalObjects
from stores.registry import Registry
from stores.releases import Releases
from tests.unit.pipelines.promotion.conftest import promoted, variant


def test_a_promotion_moves_everything(
    mover: Mover, versions: list[int], registry: Registry, releases: Releases, history: History, check
) -> None:
    promoted(mover, 1)
    assert registry.aliases() == {"Production": 1}
    mover.move(mover.settle(), Kind.CHALLENGE, registry.version(2), "shadow it", "refused")
    assert registry.aliases() == {"Production": 1, "Challenger": 2}
    promoted(mover, 2)
    assert registry.aliases() == {"Production": 2, "Previous": 1}
    release = releases.current()
    assert (release.version, release.digest) == (2, registry.version(2).digest)
    assert release.gate == {"passed": True, "judged": True}
    assert [(e.move.kind, e.move.origin, e.move.to, e.ending.outcome) for e in history.read().entries] == [
        (Kind.PROMOTE, None, 1, "done"),
        (Kind.CHALLENGE, None, 2, "done"),
        (Kind.PROMOTE, 1, 2, "done"),
    ]
    assert check().ok, check().to_dict()


def test_a_person_with_mlflow_alone_reads_the_whole_story(
    mover: Mover, versions: list[int], mlflow_store: MlflowClient, registry: Registry
) -> None:
    promoted(mover, 1, 2)
    model = mlflow_store.get_registered_model(registry.model_name)
    assert model.aliases == {"Production": "2", "Previous": "1"} or model.aliases == {"Production": 2, "Previous": 1}
    run = mlflow_store.get_run(model.tags["fraud.history"])
    move, done = (json.loads(run.data.params[key]) for key in ("move-0002", "done-0002"))
    wanted = {
        "who": "anna",
        "why": "better",
        "from": 1,
        "to": 2,
        "alias": "Production",
        "gate": "passed",
        "tool": "1.0",
    }
    assert move | wanted == move
    assert (done["outcome"], done["who"]) == ("done", "anna")
    assert move["when"].endswith("Z")
    tags = mlflow_store.get_model_version(registry.model_name, "2").tags
    assert {name: tags[f"promoted.{name}"] for name in ("by", "why", "move")} == {
        "by": "anna",
        "why": "better",
        "move": "2",
    }


@pytest.mark.parametrize("kind", [Kind.PROMOTE, Kind.ROLLBACK, Kind.REQUEST])
def test_who_decided_on_an_older_standing_has_lost(
    mover: Mover, other: Mover, versions: list[int], check, kind: Kind
) -> None:
    promoted(mover, 1)
    mine, theirs = mover.settle(), other.settle()
    other.move(theirs, Kind.PROMOTE, other.registry.version(2), "mine is better")
    with pytest.raises(LostRace, match="bob was first: Production went from version 1 to 2 meanwhile"):
        mover.move(mine, kind, mover.registry.version(3), "no, mine")
    assert mover.registry.aliases() == {"Production": 2, "Previous": 1}
    assert check().ok


def test_a_move_of_another_alias_is_no_lost_race(mover: Mover, other: Mover, versions: list[int], check) -> None:
    promoted(mover, 1)
    mine, theirs = mover.settle(), other.settle()
    other.move(theirs, Kind.CHALLENGE, other.registry.version(3), "shadow it")
    entry = mover.move(mine, Kind.PROMOTE, mover.registry.version(2), "better")
    assert entry.number == 3
    assert mover.registry.aliases() == {"Production": 2, "Previous": 1, "Challenger": 3}
    assert check().ok


def test_an_alias_moved_in_mlflow_during_the_gate_wins(
    mover: Mover, versions: list[int], registry: Registry, mlflow_store: MlflowClient, history: History, check
) -> None:
    promoted(mover, 1)
    standing = mover.settle()
    mlflow_store.set_registered_model_alias(registry.model_name, "production", "4")
    with pytest.raises(LostRace, match="Production now names version 4"):
        mover.move(standing, Kind.PROMOTE, registry.version(2), "better")
    mover.settle()
    assert registry.aliases() == {"Production": 4, "Previous": 1}
    assert [(e.move.kind, e.ending.outcome) for e in history.read().entries] == [
        (Kind.PROMOTE, "done"),
        (Kind.PROMOTE, "undone"),
        (Kind.OUTSIDE, "done"),
    ]
    assert check().ok


@pytest.mark.parametrize("spelling", ["Production", "production"])
def test_what_was_moved_outside_is_written_down_once(
    mover: Mover, other: Mover, versions, registry, mlflow_store, releases, history, check, spelling: str
) -> None:
    promoted(mover, 1, 2)
    mlflow_store.set_registered_model_alias(registry.model_name, spelling, "3")
    assert not check().ok
    for each in (mover, other, mover):
        each.settle()
    (entry,) = [entry for entry in history.read().entries if entry.move.kind is Kind.OUTSIDE]
    assert (entry.move.who, entry.move.why, entry.move.origin, entry.move.to) == (OUTSIDE, "noticed by anna", 2, 3)
    assert mlflow_store.get_registered_model(registry.model_name).aliases.keys() == {"Production", "Previous"}
    assert registry.aliases() == {"Production": 3, "Previous": 2}
    assert releases.current().version == 3
    assert check().ok


def test_aliases_from_before_the_history_began(mover: Mover, versions, registry, mlflow_store, history, check) -> None:
    for alias, version in {"Production": "3", "previous": "1", "challenger": "4"}.items():
        mlflow_store.set_registered_model_alias(registry.model_name, alias, version)
    mover.settle()
    assert registry.aliases() == {"Production": 3, "Previous": 1, "Challenger": 4}
    assert [entry.move.alias for entry in history.read().entries] == ["Production", "Previous", "Challenger"]
    assert check().ok


def test_an_alias_taken_away_in_mlflow(mover: Mover, versions, registry, mlflow_store, history) -> None:
    promoted(mover, 1, 2)
    mlflow_store.delete_registered_model_alias(registry.model_name, "Production")
    standing = mover.settle()
    assert standing.aliases == {"Previous": 1}
    assert history.read().entries[-1].move.to is None
    promoted(mover, 3)
    assert registry.aliases() == {"Production": 3, "Previous": 1}


def test_a_version_without_a_digest_is_written_down_and_not_published(
    mover: Mover, versions, registry, mlflow_store, add_version, releases, history, check
) -> None:
    promoted(mover, 1)
    mlflow_store.set_registered_model_alias(registry.model_name, "Production", str(add_version()))
    mover.settle()
    assert history.read().entries[-1].ending.note.startswith("not published: Version 5 has no digest tag")
    assert releases.current().version == 1
    failed = {finding.check for finding in check().findings if not finding.ok}
    assert failed == {
        "files of Production (version 5)",
        "gate of Production (version 5)",
        "release pointer names Production",
    }
    promoted(mover, 2)
    assert (registry.aliases(), releases.current().version) == ({"Production": 2, "Previous": 5}, 2)


def test_equal_twins_are_folded(mover: Mover, versions, registry, mlflow_store, check) -> None:
    promoted(mover, 1)
    mlflow_store.set_registered_model_alias(registry.model_name, "PRODUCTION", "1")
    assert [finding.found for finding in check().findings if not finding.ok] == ["PRODUCTION and Production"]
    mover.settle()
    assert check().ok


def test_spoiled_files_are_refused_before_anything_is_claimed(
    mover: Mover, versions, registry, history, mlflow_store, bundle: Bundle, add_version
) -> None:
    promoted(mover, 1)
    number = add_version(variant(bundle, 0.7), variant(bundle, 0.8).digest)
    with pytest.raises(InvalidBundle, match="the registry says"):
        mover.move(mover.settle(), Kind.PROMOTE, registry.version(number), "better")
    assert (registry.aliases(), history.read().last) == ({"Production": 1}, 1)


class Away(Releases):
    """Storage that takes nothing."""

    def publish(self, *_arguments: object) -> NoReturn:
        raise OSError("the disk is full")


def test_a_rollback_does_not_wait_for_the_storage_of_releases(
    mover: Mover, versions, registry: Registry, history: History, releases, released: Path, check, caplog
) -> None:
    promoted(mover, 1, 2)
    unlucky = Mover(registry, history, Away(LocalObjects(released, setting="FRAUD_RELEASES_URI")), "anna", "1.0")
    with pytest.raises(NotPublished, match="names version 3, but its release could not be published: the disk is full"):
        promoted(unlucky, 3)
    unlucky.move(unlucky.settle(), Kind.ROLLBACK, registry.version(2), "in a hurry")
    assert registry.aliases() == {"Production": 2, "Previous": 1}
    assert "move 3 stays unfinished" in caplog.text
    assert [finding.found for finding in check().findings if not finding.ok] == ["move 3 by anna"]
    mover.settle()
    assert (registry.aliases(), releases.current().version) == ({"Production": 2, "Previous": 1}, 2)
    assert check().ok


class Sleepy(Registry):
    """Sleeps before it sets Production, while ``meanwhile`` happens."""

    meanwhile: Callable[[], None] | None = None

    def move(self, alias: str, number: int | None) -> None:
        if alias == "Production" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        super().move(alias, number)


def test_a_mover_that_slept_gives_way_to_what_came_later(
    mover: Mover, versions, registry: Registry, history: History, releases: Releases, check
) -> None:
    promoted(mover, 1)
    sleepy = Sleepy(registry.tracking_uri, registry.model_name)
    slow = Mover(sleepy, history, releases, "bob", "1.0")
    standing = slow.settle()

    def meanwhile() -> None:
        promoted(mover, 3)

    sleepy.meanwhile = meanwhile
    slow.move(standing, Kind.PROMOTE, registry.version(2), "better")
    assert [entry.move.to for entry in history.read().entries] == [1, 2, 3]
    assert registry.aliases() == {"Production": 3, "Previous": 2}
    assert releases.current().version == 3
    assert check().ok


def test_a_deleted_version_is_not_brought_back_by_its_claim(
    mover: Mover, versions, registry: Registry, history: History, mlflow_store: MlflowClient, check
) -> None:
    promoted(mover, 1)
    standing = mover.settle()
    draft = Move(
        kind=Kind.PROMOTE,
        alias="Production",
        origin=1,
        to=4,
        who="bob",
        when=standing.record.entries[0].move.when,
        why="",
        gate="passed",
        digest=registry.version(4).digest,
        before={"Previous": None, "Production": 1},
        after={"Previous": 1, "Production": 4},
        tool="1.0",
        token="x",
    )
    history.claim(2, draft)
    registry.move("Previous", 1)
    mlflow_store.delete_model_version(registry.model_name, "4")
    mover.settle()
    assert history.read().entries[-1].ending.note == "Version 4 was deleted."
    assert registry.aliases() == {"Production": 1}
    assert check().ok


def test_verify_names_what_is_amiss(
    mover: Mover,
    versions,
    registry: Registry,
    releases: Releases,
    released: Path,
    check: Callable[[], Verification],
    mlflow_store,
) -> None:
    promoted(mover, 1, 2)
    registry.tag(1, "bundle.sha256", registry.version(3).digest)
    release = releases.current()
    path: Path = released / release.location / BOOSTER_FILE
    path.write_bytes(path.read_bytes() + b" ")
    mlflow_store.set_registered_model_alias(registry.model_name, "challenger", "4")
    registry.tag_model("fraud.history", "elsewhere")
    failed = {finding.check: finding.found for finding in check().findings if not finding.ok}
    assert failed.keys() == {
        "files of Previous (version 1)",
        "digest tag of Previous (version 1)",
        "digest tag of Challenger (version 4)",
        "Challenger is where the history left it",
        "the history is the one that the model's tag names",
        "release can be read",
    }
    assert failed["Challenger is where the history left it"].startswith("version 4; the history says None")
    assert "the registry says" in failed["files of Previous (version 1)"]


def test_verify_of_nothing(registry: Registry, check: Callable[[], Verification]) -> None:
    assert check().ok
