"""How good models are, beyond the gate: two versions side by side, and history replayed.

May import `pipelines.data`, `pipelines.training`, `pipelines.promotion`, `pipelines.monitoring`, `pipelines.pages`,
`ml_project`, `stores` and the modules at the top of `pipelines`.

- `compare`: two registered versions: figures, paired differences on common rows, thresholds, parameters
- `evaluator`: our figures of any version on any labelled table, through ``mlflow.models.evaluate``
- `prequential`: the ingested history block by block: learn from what was known, score the next block;
  or week by week, under rules that say when a model is retrained
"""
