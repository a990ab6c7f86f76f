import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from ml_project.bundle import BOOSTER_FILE, FILES, ONNX_FILE, Bundle
from ml_project.card import Card
from ml_project.errors import InvalidBundle, Unavailable
from ml_project.split import TimeSplit
from serving.routes.examples import MODEL
from stores.history import History
from stores.objects import LocalObjects
from stores.production import Challenger, LiveVersion, Production
from stores.registry import PRODUCTION, Registry
from stores.released import Promotions, ReleasedProduction
from stores.releases import POINTER, Release, Releases

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def untried(_folder: Path, _digest: str) -> None:
    """No first scoring, which costs a second: `test_bundle_trial` has its own tests."""


class AwayRegistry:
    """A registry whose server does not answer, whatever it is asked."""

    model_name = "fraud-ensemble"

    def __getattr__(self, _name: str) -> Never:
        raise Unavailable("The MLflow server at http://away does not answer.")


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(LocalObjects(tmp_path / "releases", setting="FRAUD_RELEASES_URI"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def production(registry: Registry, releases: Releases, cache: Path) -> Production:
    return Production(registry, releases, cache, History(registry.tracking_uri, registry.model_name), untried)


@pytest.fixture
def away(releases: Releases, cache: Path) -> Production:
    """The same gateway while MLflow is down."""
    return Production(AwayRegistry(), releases, cache, AwayRegistry(), untried)


@pytest.fixture
def promoted(registry: Registry, add_version, bundle: Bundle) -> int:
    number = add_version(bundle, bundle.digest)
    registry.move(PRODUCTION, number)
    return number


@pytest.fixture
def released(releases: Releases, bundle: Bundle) -> Release:
    return releases.publish(bundle, "fraud-ensemble", 5, {}, NOW)


@pytest.fixture
def card(promoted: int, bundle: Bundle) -> Card:
    lineage = {"bundle digest": bundle.digest}
    return Card.model_validate({**MODEL["card"], "version": promoted, "lineage": lineage})


def test_the_card_of_a_version_comes_from_its_run_or_from_the_release(
    production: Production, away: Production, registry, mlflow_store, releases: Releases, promoted, bundle, card: Card
):
    live = production.current()
    assert production.card(live) is None
    mlflow_store.log_text(registry.version(promoted).run_id, card.model_dump_json(), "card.json")
    assert production.card(live) == card
    with pytest.raises(Unavailable):
        away.card(live)
    releases.publish(bundle, "fraud-ensemble", promoted, {}, NOW, card)
    assert away.card(away.current()) == card


@pytest.mark.parametrize("update", [{"version": 77}, {"lineage": {"bundle digest": "another"}}, {"data": 1}])
def test_a_card_of_something_else_is_none(production: Production, registry, mlflow_store, promoted, card: Card, update):
    text = json.dumps(card.model_dump(mode="json") | update)
    mlflow_store.log_text(registry.version(promoted).run_id, text, "card.json")
    assert production.card(production.current()) is None


def test_promotions_while_mlflow_is_away_are_what_the_pointer_knows(away: Production, releases: Releases, bundle):
    assert away.promotions() == Promotions("release pointer", ())
    releases.publish(bundle, "fraud-ensemble", 5, {"passed": True}, NOW)
    (move,) = away.promotions().moves
    assert (move.to, move.when, move.gate, move.who) == (5, NOW, "passed", None)


def test_the_challenger_is_found_without_regard_to_case(
    registry: Registry, mlflow_store, add_version, other_bundle: Bundle, promoted, cache: Path
):
    challenger = Challenger(registry, cache, untried)
    assert challenger.current() is None
    number = add_version(other_bundle, other_bundle.digest)
    mlflow_store.set_registered_model_alias(registry.model_name, "challenger", str(number))
    live = challenger.current()
    assert (live.version, live.digest) == (number, other_bundle.digest)
    assert challenger.load(live, 1).bundle.digest == other_bundle.digest
    mlflow_store.set_registered_model_alias(registry.model_name, "challenger", str(add_version()))
    with pytest.raises(InvalidBundle, match="no digest tag"):
        challenger.current()


def test_nothing_was_ever_promoted(production: Production, add_version):
    assert production.current() is None
    add_version()
    assert production.current() is None


def test_the_registry_names_the_live_version(
    production: Production, promoted: int, bundle: Bundle, released: Release, cache: Path, split: TimeSplit, twin
):
    live = production.current()
    assert live == LiveVersion(promoted, bundle.digest, "registry")
    scorer = production.load(live, threads=1)
    np.testing.assert_allclose(scorer.score(split.test.raw).hybrid, twin.score(split.test).hybrid, atol=1e-5)
    assert [path.name for path in cache.iterdir()] == [bundle.digest]


def test_the_release_pointer_stands_in_while_the_registry_is_away(away: Production, released: Release, bundle: Bundle):
    live = away.current()
    assert live == LiveVersion(5, bundle.digest, "release pointer", released)
    assert away.load(live, threads=1).bundle.digest == bundle.digest


def test_without_registry_and_pointer_nothing_can_be_said(away: Production):
    with pytest.raises(Unavailable, match="http://away"):
        away.current()


def test_an_invalid_pointer_is_refused(away: Production, released: Release, tmp_path: Path):
    (tmp_path / "releases" / POINTER).write_text("{}")
    with pytest.raises(Unavailable, match=r"http://away.*release pointer"):
        away.current()


@pytest.mark.parametrize("digest", [None, "", "..", "../../home", "AB" * 32, "ab" * 32 + "\n"])
def test_a_version_that_nobody_vouches_for_is_refused(
    production: Production, registry: Registry, add_version, bundle: Bundle, digest: str | None
):
    registry.move(PRODUCTION, add_version(bundle, digest))
    with pytest.raises(InvalidBundle, match="Version 1 has no digest tag"):
        production.current()


def test_a_bundle_is_fetched_once(production: Production, away: Production, promoted: int):
    live = production.current()
    production.load(live, threads=1)
    assert away.load(live, threads=1).bundle.digest == live.digest


def test_a_damaged_cache_is_filled_anew_at_once(production: Production, promoted: int, cache: Path):
    """As after a loss of power: whoever waited for the next look would have no model meanwhile."""
    live = production.current()
    production.load(live, threads=1)
    path = cache / live.digest / ONNX_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert production.load(live, threads=1).bundle.digest == live.digest
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", FILES)
def test_a_tampered_release_is_refused(away: Production, released: Release, tmp_path: Path, cache: Path, name: str):
    path = tmp_path / "releases" / released.location / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InvalidBundle, match="has the digest"):
        away.load(away.current(), threads=1)
    assert list(cache.iterdir()) == []


def test_a_lost_file_of_a_release_is_refused(away: Production, released: Release, tmp_path: Path):
    (tmp_path / "releases" / released.location / BOOSTER_FILE).unlink()
    with pytest.raises(InvalidBundle, match=f"lacks {BOOSTER_FILE}"):
        away.load(away.current())


def test_a_version_with_other_files_than_its_tag_says_is_refused(
    production: Production, registry: Registry, add_version, bundle: Bundle, other_bundle: Bundle, cache: Path
):
    registry.move(PRODUCTION, add_version(other_bundle, bundle.digest))
    with pytest.raises(InvalidBundle, match="the registry says"):
        production.load(production.current())
    assert list(cache.iterdir()) == []


def test_a_new_promotion_is_seen(production: Production, promoted: int, registry, add_version, other_bundle: Bundle):
    first = production.load(production.current(), threads=1)
    registry.move(PRODUCTION, add_version(other_bundle, other_bundle.digest))
    live = production.current()
    assert (live.version, live.digest) == (2, other_bundle.digest)
    assert production.load(live, threads=1).thresholds != first.thresholds


def test_a_move_in_mlflows_page_is_followed(
    production: Production, promoted: int, registry, mlflow_store, add_version, other_bundle: Bundle
):
    number = add_version(other_bundle, other_bundle.digest)
    mlflow_store.set_registered_model_alias(registry.model_name, "production", str(number))
    assert production.current().version == number


def test_a_bundle_is_tried_once_before_it_scores_here(releases: Releases, released: Release, cache: Path):
    tried: list[str] = []

    def trial(folder: Path, digest: str) -> None:
        assert (folder / ONNX_FILE).exists()
        tried.append(digest)

    for _start in range(2):
        source = ReleasedProduction(releases, cache, "fraud-ensemble", trial)
        source.load(source.current(), threads=1)
    assert tried == [released.digest]


def test_what_does_not_stand_its_trial_is_forgotten(releases: Releases, released: Release, cache: Path):
    def trial(_folder: Path, _digest: str) -> None:
        raise InvalidBundle("Its first scoring takes more than 20 s.")

    source = ReleasedProduction(releases, cache, "fraud-ensemble", trial)
    with pytest.raises(InvalidBundle, match="takes more than 20 s"):
        source.load(source.current())
    assert list(cache.iterdir()) == []


def test_a_pointer_of_another_model_names_nothing(away: Production, releases: Releases, bundle: Bundle):
    releases.publish(bundle, "another", 5, {}, NOW)
    said = r"http://away.*cannot stand in either.*a version of 'another', not of 'fraud-ensemble'"
    with pytest.raises(Unavailable, match=said):
        away.current()


@pytest.mark.parametrize("update", [{"version": -5}, {"version": 10**70}, {"version": 0}, {"files": {"a": "b"}}])
def test_a_pointer_that_cannot_be_meant_is_refused(away: Production, released: Release, tmp_path: Path, update):
    path = tmp_path / "releases" / POINTER
    path.write_text(json.dumps(json.loads(path.read_text()) | update))
    with pytest.raises(Unavailable, match=r"release pointer .* is not valid"):
        away.current()


def test_what_stands_in_says_for_what(away: Production, released: Release):
    assert away.current().registry_fault == "The MLflow server at http://away does not answer."
