import pytest

from ml_project.errors import Refused
from pipelines.approve import approve
from pipelines.moves.mover import Mover
from stores.moves import Kind
from stores.registry import Registry
from tests.unit.pipelines.moves.conftest import promoted


@pytest.fixture
def asked(mover: Mover, versions: list[int]) -> None:
    """Version 1 is Production; anna asks for 2."""
    promoted(mover, 1)
    mover.move(mover.settle(), Kind.REQUEST, mover.registry.version(2), "less false alarms")


def test_a_second_person_completes_the_move(asked, other: Mover, registry: Registry, history, check) -> None:
    assert registry.aliases() == {"Production": 1}
    said = approve(other, 2, "looked at the report")
    assert said == "Production is now version 2, asked for by anna and approved by bob."
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
