import pytest

from ml_project.errors import InvalidBundle, InvalidInput, Refused
from pipelines.promotion.mover import Mover
from pipelines.promotion.rollback import approve, rollback
from stores.moves import Kind
from stores.registry import Registry
from stores.releases import Releases
from tests.unit.pipelines.promotion.conftest import promoted, statement


def test_two_rollbacks_go_back_twice_and_never_forward(
    mover: Mover, versions, registry: Registry, releases: Releases, check
) -> None:
    promoted(mover, 1, 2, 3)
    assert rollback(mover, "too many alerts") == "Production is version 2 again (before: version 3)."
    assert registry.aliases() == {"Production": 2, "Previous": 1}
    assert releases.current().version == 2
    assert rollback(mover, "still too many") == "Production is version 1 again (before: version 2)."
    assert registry.aliases() == {"Production": 1}
    with pytest.raises(Refused, match="no Previous version"):
        rollback(mover, "once more")
    tags = registry.version(3).tags
    assert (tags["rolled_back.by"], tags["rolled_back.why"]) == ("anna", "too many alerts")
    assert check().ok


def test_to_a_version_is_done_once(mover: Mover, versions, registry: Registry) -> None:
    promoted(mover, 1, 2, 3)
    assert rollback(mover, "bad", to=1) == "Production is version 1 again (before: version 3)."
    assert rollback(mover, "bad", to=1) == "Version 1 is Production already; nothing to do."
    assert mover.settle().record.last == 4
    # forward again only by name
    rollback(mover, "was not that bad", to=3)
    assert registry.aliases() == {"Production": 3, "Previous": 1}


def test_only_what_was_production_comes_back(mover: Mover, versions, registry: Registry, mlflow_store) -> None:
    promoted(mover, 1)
    with pytest.raises(Refused, match="Version 2 was never Production"):
        rollback(mover, "try", to=2)
    with pytest.raises(InvalidInput, match="no version 9"):
        rollback(mover, "try", to=9)
    with pytest.raises(InvalidInput, match="needs a reason"):
        rollback(mover, "")
    # set by hand, to something that never answered
    mlflow_store.set_registered_model_alias(registry.model_name, "Previous", "3")
    with pytest.raises(Refused, match="Version 3 was never Production"):
        rollback(mover, "try")
    registry.tag(3, "promoted.at", "2025-01-01T00:00:00+00:00")  # before the history began
    assert rollback(mover, "now") == "Production is version 3 again (before: version 1)."


def test_a_move_made_outside_is_rolled_back_too(mover: Mover, versions, registry: Registry, mlflow_store) -> None:
    promoted(mover, 1)
    mlflow_store.set_registered_model_alias(registry.model_name, "production", "4")
    assert rollback(mover, "who was that?") == "Production is version 1 again (before: version 4)."
    kinds = [entry.move.kind for entry in mover.settle().record.entries]
    assert kinds == [Kind.PROMOTE, Kind.OUTSIDE, Kind.ROLLBACK]


def test_simulated_data_comes_back_after_real_data_neither_by_a_rollback(
    mover: Mover, versions, registry: Registry, check
) -> None:
    for number, source in enumerate(("simulated", "simulated", "file"), start=1):
        registry.tag(number, "data.source", source)
    promoted(mover, 1, 2)
    assert rollback(mover, "simulated after simulated") == "Production is version 1 again (before: version 2)."
    promoted(mover, 3)
    for to in (None, 2):
        with pytest.raises(Refused, match=r"was trained on simulated data, .* version 3 stays Production \(file\)"):
            rollback(mover, "too many alerts", to=to)
    assert registry.aliases() == {"Production": 3, "Previous": 1}
    registry.tag(4, "data.source", "kaggle")
    promoted(mover, 4)
    assert rollback(mover, "real after real") == "Production is version 3 again (before: version 4)."
    assert check().ok


def test_a_champion_of_unknown_origin_counts_as_real(mover: Mover, versions, registry: Registry) -> None:
    registry.tag(1, "data.source", "simulated")
    promoted(mover, 1, 2)
    with pytest.raises(Refused, match=r"version 2 stays Production \(of unknown origin\)"):
        rollback(mover, "bad")


def test_simulated_after_real_in_mlflows_page_is_a_finding_and_can_be_rolled_back(
    mover: Mover, versions, registry: Registry, mlflow_store, check
) -> None:
    for number, source in enumerate(("simulated", "file"), start=1):
        registry.tag(number, "data.source", source)
    promoted(mover, 1)
    assert check().ok
    promoted(mover, 2)
    mlflow_store.set_registered_model_alias(registry.model_name, "Production", "1")
    mover.settle()
    failed = {finding.check: finding.found for finding in check().findings if not finding.ok}
    assert failed == {"data of Production (version 1)": "simulated after version 2, which was not"}
    rollback(mover, "who was that?")
    assert registry.aliases()["Production"] == 2
    assert check().ok


@pytest.fixture
def asked(mover: Mover, versions: list[int]) -> None:
    """Version 1 is Production; anna asks for 2."""
    promoted(mover, 1)
    mover.move(mover.settle(), Kind.REQUEST, mover.registry.version(2), "less false alarms")


def test_a_second_person_completes_the_move(asked, other: Mover, registry: Registry, history, check) -> None:
    assert registry.aliases() == {"Production": 1}
    said = approve(other, 2, "looked at the report")
    assert said == "Production is now version 2, requested by anna and approved by bob."
    request, granted = (entry.move for entry in history.read().entries[1:])
    assert (request.kind, request.who, request.why, request.after) == (Kind.REQUEST, "anna", "less false alarms", {})
    assert (granted.kind, granted.who, granted.asked_by, granted.request) == (Kind.PROMOTE, "bob", "anna", 2)
    assert (granted.gate, granted.why) == ("passed", "looked at the report")
    assert registry.aliases() == {"Production": 2, "Previous": 1}
    assert approve(other, 2, "again") == "Version 2 is Production already; nothing to do."
    assert check().ok


def test_the_one_who_asked_may_not(asked, mover: Mover, registry: Registry) -> None:
    with pytest.raises(Refused, match="anna asked for version 2"):
        approve(mover, 2, "I am sure")
    assert registry.aliases() == {"Production": 1}


def test_only_what_was_asked_for(asked, other: Mover, mover: Mover, registry: Registry) -> None:
    with pytest.raises(Refused, match="No request waits for version 3"):
        approve(other, 3, "why not")
    registry.tag(2, "bundle.sha256", registry.version(3).digest)
    with pytest.raises(Refused, match="another digest"):
        approve(other, 2, "ok")
    promoted(mover, 4)
    with pytest.raises(Refused, match="No request waits for version 2; one ends when Production moves"):
        approve(other, 2, "ok")


def test_a_rollback_is_signed_by_the_verdict_that_the_version_went_live_under(
    mover: Mover, versions, registry: Registry
) -> None:
    promoted(mover, 1, 2)
    registry.tag(1, "gate.passed", "false")  # judged again since, against a better champion
    rollback(mover, "too many alerts")
    said = statement(registry, 1)
    assert (said.gate, said.approved_by, said.asked_by) == ("passed", "anna", None)


def test_what_no_gate_let_pass_is_not_signed(mover: Mover, versions, registry: Registry, mlflow_store) -> None:
    promoted(mover, 1)
    registry.tag(4, "gate.passed", "false")
    mlflow_store.set_registered_model_alias(registry.model_name, "Production", "4")
    promoted(mover, 2)
    with pytest.raises(Refused, match=r"No gate has passed version 4 \(refused\): gateways would refuse it"):
        rollback(mover, "try")
    assert registry.aliases()["Production"] == 2


def test_who_approved_is_signed_beside_who_asked(mover: Mover, other: Mover, versions, registry: Registry) -> None:
    promoted(mover, 1)
    mover.move(mover.settle(), Kind.REQUEST, registry.version(2), "may I?")
    assert "gate.signature" not in registry.version(2).tags
    approve(other, 2, "looked at it")
    said = statement(registry, 2)
    assert (said.asked_by, said.approved_by, said.gate) == ("anna", "bob", "passed")


def test_a_claim_that_somebody_else_wrote_is_not_signed(mover: Mover, versions, registry: Registry, history) -> None:
    """Whoever may write to the history, such as an administrator, could have the next promoter finish it."""
    promoted(mover, 1)
    genuine = history.read().entries[0].move
    change = {"to": 3, "origin": 1, "digest": registry.version(3).digest, "before": {"Production": 1}, "token": "other"}
    history.claim(2, genuine.model_copy(update={**change, "after": {"Production": 3}}))
    mover.settle()
    assert registry.aliases()["Production"] == 3
    with pytest.raises(InvalidBundle, match="Its signature is of version 1"):
        statement(registry, 3)
