"""The contract of the public table, taken apart: what most tests' transactions are."""

from typing import Final

from ml_project.baseline import watched_names
from ml_project.contract import Contract
from ml_project.contract_file import contract_named
from serving.routes.examples import example_transaction
from stores.decisions import KeptContract

CREDITCARD: Final[Contract] = contract_named()
KEPT: Final = KeptContract.of(CREDITCARD)
RAW_FEATURES: Final = CREDITCARD.raw_fields
FEATURES: Final = CREDITCARD.feature_names
ENGINEERED_FEATURES: Final = CREDITCARD.engineered
PCA_COMPONENTS: Final = RAW_FEATURES[1:-1]
LEFT_OUT: Final = CREDITCARD.left_out
WATCHED: Final = watched_names(CREDITCARD)
LABEL: Final = CREDITCARD.label_field
WEIGHT: Final = CREDITCARD.weight
EVENT_TIME: Final = CREDITCARD.event_time
TRANSACTION_ID: Final = CREDITCARD.transaction_id
GROWN: Final = Contract.model_validate(
    CREDITCARD.to_dict()
    | {"version": 2, "fields": [*CREDITCARD.to_dict()["fields"], {"name": "risk", "type": "number", "required": False}]}
)
"""Its next version, with a field more that may be missing."""
DRIFTING: Final = "V11"
"""A feature of which tests let the values move."""

TRANSACTION: Final = example_transaction(CREDITCARD)
"""An ordinary one, as a client would send it."""
