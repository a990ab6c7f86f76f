"""The ML core: features, ensemble, thresholds and metrics. Pure: arrays and frames in, values out.

In the order in which data passes them:

- `contract`: what a transaction's fields are, and its features; `contract_parts`: one of each; `contract_check`: what
  cannot be meant; `contract_file`: the same as people write it.
- `tables`: files as people bring them, their text and dialects. `columns`: what a value of each type looks like there.
- `event_times`: when a transaction can have happened. `history`: what an entity did before, for whole tables.
  `cleaning`: raw tables to clean ones.
- `dataset`: those as arrays in time order.
- `simulator`, `simulator_model`: transactions from a seed, of the contract creditcard; `simulator_cards`: of cards.
- `split`: parts by time. `operators`: what they are; `features`: the ensemble's inputs by them.
  `statistics`: what training rows looked like.
- `ensemble`: both forests. `engine`: where rows lie while they are fitted. `fitting`: twin, refit and folds.
- `reference_models`: the models that every candidate is compared with.
- `unseen_scores`: rows with scores of models that had not seen them. `calibration`: scores to probabilities.
  `expected_quality`: figures before the labels come.
- `policies`: how thresholds are chosen.
- `metrics`: figures and their uncertainty; `entity_metrics`: of customers or cards instead of transactions.
  `prequential`: figures block by block, and rules of retraining week by week.
- `onnx_graph`: an ensemble as one graph. `bundle`: a version as three files. `graph_check`, `manifest_check`: what may
  stand in them.
- `scorer`: from raw transactions to scores. `reasons`: why; `tree_shap` does the arithmetic,
  `reason_words` says what history was, `quantities` writes its numbers.
- `baseline`, `drift`: what traffic is compared with, and how far it is from that.
- `review`: the random review of approvals, and what labels stand for.
- `card`: a version in figures, as data.
- `errors`: the base of every expected error.

Imports no other package here. The gateway imports the files of `contract`, `tables`, `columns`, `event_times`,
`operators`, `features`, `history`, `statistics`, `baseline`, `drift`, `metrics`, `policies`, `calibration`, `bundle`,
`graph_check`, `manifest_check`, `scorer`, `reasons`, `reason_words`, `quantities`, `tree_shap`, `review`, `card` and
`errors`: no pandas, scikit-learn, XGBoost or ONNX in these.
"""

import os

# ONNX Runtime reads it while it is imported: it would report processes and models to its makers, over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
