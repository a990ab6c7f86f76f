from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from ml_project.bundle import BOOSTER_FILE, FILES, ONNX_FILE, Bundle
from ml_project.errors import InvalidBundle, Unavailable
from ml_project.split import TimeSplit
from stores.objects import LocalObjects
from stores.production import LiveVersion, Production
from stores.registry import PRODUCTION, Registry
from stores.releases import POINTER, Release, Releases

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class AwayRegistry:
    """A registry whose server does not answer, whatever it is asked."""

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
    return Production(registry, releases, cache)


@pytest.fixture
def away(releases: Releases, cache: Path) -> Production:
    """The same gateway while MLflow is down."""
    return Production(AwayRegistry(), releases, cache)


@pytest.fixture
def promoted(registry: Registry, add_version, bundle: Bundle) -> int:
    number = add_version(bundle, bundle.digest)
    registry.move(PRODUCTION, number)
    return number


@pytest.fixture
def released(releases: Releases, bundle: Bundle) -> Release:
    return releases.publish(bundle, "fraud-ensemble", 5, {}, NOW)


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
    with pytest.raises(InvalidBundle, match="release pointer"):
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


def test_a_bad_cache_entry_is_forgotten_and_fetched_anew(production: Production, promoted: int, cache: Path):
    live = production.current()
    production.load(live, threads=1)
    path = cache / live.digest / ONNX_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidBundle, match="has the digest"):
        production.load(live, threads=1)
    assert list(cache.iterdir()) == []
    assert production.load(live, threads=1).bundle.digest == live.digest


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
