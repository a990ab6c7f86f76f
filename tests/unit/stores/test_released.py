from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidBundle, Unavailable
from stores.attestation import SigningKey, Statement, TrustedKeys
from stores.history import History
from stores.production import Challenger, Production
from stores.registry import CHALLENGER, PRODUCTION, Registry
from stores.released import ReleasedProduction, gate_result, gated, released_gate, signed, verdict
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
    guarded = gated(production, production.gate_of)
    live = guarded.current()
    assert live.version == number
    if said in ("passed", "forced"):
        assert guarded.load(live, threads=1).bundle.digest == bundle.digest
    else:
        with pytest.raises(InvalidBundle, match="FRAUD_REQUIRE_GATE is on"):
            guarded.load(live, threads=1)
        assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("said", TAGS)
def test_by_the_release_pointer(bundle: Bundle, tmp_path: Path, said: str):
    releases = open_releases(str(tmp_path / "releases"))
    releases.publish(bundle, "fraud-ensemble", 5, gate_result(TAGS[said]), datetime(2026, 1, 2, tzinfo=UTC))
    guarded = gated(ReleasedProduction(releases, tmp_path / "cache", "fraud-ensemble", untried), released_gate)
    if said in ("passed", "forced"):
        assert guarded.load(guarded.current(), threads=1).bundle.digest == bundle.digest
    else:
        with pytest.raises(InvalidBundle, match="Roll back, then promote"):
            guarded.load(guarded.current(), threads=1)


@pytest.mark.parametrize("said", ["passed", "refused", None])
def test_what_the_registry_names_is_loaded_if_the_promotion_signed_it(
    registry: Registry, add_version, bundle: Bundle, tmp_path: Path, said: str | None
):
    """Production where it may answer, and a challenger whatever the gate said, but not without a word of it."""
    key = SigningKey("a secret of the promotion, 32 letters")
    trust, number = TrustedKeys([key.public]), add_version(bundle, bundle.digest)
    registry.tag(number, "gate.passed", "true")  # which an administrator of MLflow can write
    about = {"model": registry.model_name, "version": number, "digest": bundle.digest, "gate": said}
    if said is not None:
        statement = Statement.model_validate({**about, "approved_by": "anna", "when": datetime.now(UTC)})
        registry.tag(number, "gate.signature", key.sign(statement))
    registry.move(PRODUCTION, number)
    registry.move(CHALLENGER, number)
    history = History(registry.tracking_uri, registry.model_name)
    production = Production(registry, open_releases(str(tmp_path / "r")), tmp_path / "cache", history, untried)
    doors = {
        "production": signed(production, trust, registry.model_name),
        "challenger": Challenger(registry, tmp_path / "cache", untried, trust),
    }
    open_ones = {"passed": {"production", "challenger"}, "refused": {"challenger"}, None: set()}[said]
    for name, source in doors.items():
        if name in open_ones:
            assert source.load(source.current(), threads=1).bundle.digest == bundle.digest
        else:
            with pytest.raises(InvalidBundle, match=r"^FRAUD_TRUSTED_KEYS is set\. "):
                source.load(source.current(), threads=1)


def test_an_outage_of_the_registry_is_told_as_one(bundle: Bundle, tmp_path: Path):
    guarded = gated(ReleasedProduction(open_releases(str(tmp_path)), tmp_path / "cache", "m"), released_gate)
    assert guarded.current() is None
    (tmp_path / "Production.json").mkdir()
    with pytest.raises(Unavailable):
        guarded.current()
