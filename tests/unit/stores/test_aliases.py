import pytest

from stores.aliases import followed


@pytest.mark.parametrize(
    ("aliases", "tags", "version"),
    [
        ({}, {}, None),
        ({"Challenger": 1}, {}, None),
        ({"production": 4}, {}, 4),
        ({"Production": 3, "production": 4}, {"fraud.moved.Production": "3"}, 4),
        ({"Production": 4, "production": 3}, {"fraud.moved.Production": "4"}, 3),
        ({"Production": 4, "production": 3}, {"fraud.moved.production": "4"}, 3),
        ({"Production": 4, "production": 3, "PRODUCTION": 2}, {"fraud.moved.Production": "4"}, 3),
        ({"Production": 4, "production": 4}, {"fraud.moved.Production": "4"}, 4),
        ({"Production": 4, "production": 3}, {}, 4),
    ],
)
@pytest.mark.parametrize("alias", ["Production", "production", "pRODUCTION"])
def test_the_spelling_that_we_did_not_move_wins(aliases, tags, version, alias):
    assert followed(aliases, tags, alias) == version
