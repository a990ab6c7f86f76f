from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidBundle, Unavailable
from stores.history import History
from stores.production import Production
from stores.registry import PRODUCTION, Registry
from stores.released import Gated, ReleasedProduction, gate_result, released_gate, verdict
from stores.releases import open_releases

TAGS = {
    "passed": {"gate.passed": "true", "gate.failures": "none"},
    "forced": {"gate.passed": "false", "gate.failures": "recall", "gate.forced": "anna: no time"},
    "refused": {"gate.passed": "false", "gate.failures": "recall"},
    "none": {},
}


def untried(_folder: Path, _digest: str) -> None:
    """No first scoring, which costs a second."""


@pytest.mark.parametrize("said", TAGS)
def test_a_verdict_in_a_word(said: str):
    assert verdict(gate_result(TAGS[said])) == said


@pytest.mark.parametrize("said", TAGS)
def test_by_the_registry(registry: Registry, add_version, bundle: Bundle, tmp_path: Path, said: str):
    number = add_version(bundle, bundle.digest)
    for name, value in TAGS[said].items():
        registry.tag(number, name, value)
    registry.move(PRODUCTION, number)
    production = Production(
        registry,
        open_releases(str(tmp_path / "releases")),
        tmp_path / "cache",
        History(registry.tracking_uri, registry.model_name),
        untried,
    )
    gated = Gated(production, production.gate_of)
    live = gated.current()
    assert live.version == number
    if said in ("passed", "forced"):
        assert gated.load(live, threads=1).bundle.digest == bundle.digest
    else:
        with pytest.raises(InvalidBundle, match="FRAUD_REQUIRE_GATE is on"):
            gated.load(live, threads=1)
        assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("said", TAGS)
def test_by_the_release_pointer(bundle: Bundle, tmp_path: Path, said: str):
    releases = open_releases(str(tmp_path / "releases"))
    releases.publish(bundle, "fraud-ensemble", 5, gate_result(TAGS[said]), datetime(2026, 1, 2, tzinfo=UTC))
    gated = Gated(ReleasedProduction(releases, tmp_path / "cache", "fraud-ensemble", untried), released_gate)
    if said in ("passed", "forced"):
        assert gated.load(gated.current(), threads=1).bundle.digest == bundle.digest
    else:
        with pytest.raises(InvalidBundle, match="Roll back, then promote"):
            gated.load(gated.current(), threads=1)


def test_an_outage_of_the_registry_is_told_as_one(bundle: Bundle, tmp_path: Path):
    gated = Gated(ReleasedProduction(open_releases(str(tmp_path)), tmp_path / "cache", "m"), released_gate)
    assert gated.current() is None
    (tmp_path / "Production.json").mkdir()
    with pytest.raises(Unavailable):
        gated.current()
