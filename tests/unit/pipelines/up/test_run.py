"""The transactions that `up` sends when all is up."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from ml_project.contract_file import contract_named
from pipelines.up.run import golden_transactions


def manifest(name: str, seed: int) -> Any:
    contract = contract_named(name)
    raw = np.random.default_rng(seed).uniform(0, 1e6, (3, len(contract.raw_fields)))
    return SimpleNamespace(contract=contract, golden_rows=[SimpleNamespace(values=row) for row in raw])


def test_samples_have_names_of_their_own_where_a_contract_wants_them() -> None:
    first, again, other = (golden_transactions(manifest("cards", seed)) for seed in (1, 1, 2))
    assert first == again
    names = [each["transaction"] for each in (*first, *other)]
    assert len(set(names)) == 6
    assert all("customer" in each and "customer_count_7d" not in each for each in first)
    assert all("transaction_id" not in each for each in golden_transactions(manifest("creditcard", 1)))
