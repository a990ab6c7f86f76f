"""What a promotion publishes beside the bundle."""

from ml_project.card import Card
from serving.routes.examples import MODEL
from stores.released import promotions_in
from stores.releases import Releases
from tests.unit.pipelines.promotion.conftest import promoted


def test_a_promotion_publishes_the_card_and_an_older_pointer_gets_it_later(
    mover, versions, registry, mlflow_store, releases: Releases
) -> None:
    promoted(mover, 1)
    assert releases.current().card is None
    lineage = {"bundle digest": registry.version(1).digest}
    card = Card.model_validate({**MODEL["card"], "version": 1, "lineage": lineage})
    mlflow_store.log_text(registry.version(1).run_id, card.model_dump_json(), "card.json")
    mover.settle()
    assert releases.card(releases.current()) == card
    published = releases.current()
    mover.settle()
    assert releases.current() == published
    promoted(mover, 2)
    assert releases.current().card is None


def test_promotions_are_the_historys_moves_of_production(mover, versions, history) -> None:
    promoted(mover, 1, 2)
    known = promotions_in(history.read())
    assert known.source == "history"
    newest, first = known.moves
    assert (newest.number, newest.kind, newest.origin, newest.to) == (2, "promote", 1, 2)
    assert (newest.who, newest.why, newest.gate, newest.outcome) == ("anna", "better", "passed", "done")
    assert (first.origin, first.to) == (None, 1)
