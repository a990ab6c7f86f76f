"""The pipelines: every step from data to Production and back, with its side effects.

May import `stores` and `ml_project`, never `serving`. The packages, in the order in which data passes them:

- `cli`: the commands of ``python -m pipelines``; `__main__` puts them together and turns errors into exit codes
- `data`: reads, cleans, stores and validates transactions
- `training`: tunes, fits and measures a candidate, chooses thresholds, and logs the finished model
- `promotion`: the gate, and every way of moving Production
- `evaluation`: two versions compared, history replayed block by block, and `mlflow.models.evaluate`
- `pages`: the charts and HTML that the other packages show
- `scoring`: scores whole tables with a registered version
- `monitoring`: compares live decisions with the model's baseline
- `retraining`: trains again on what the gateway has decided since
- `schedule`: runs `monitor` and `retrain` by cron
- `traffic`: simulated transactions for a running gateway
- `up`: everything on one machine, for a first look

Shared by them: `settings` (every setting), `tracking` (runs in MLflow), `run_page` (their names, notes and views on
MLflow's page), `prune` (removes what nothing needs), `console` (what a person sees of long work), `processes` (servers
as child processes), `spark_session` (a Spark session for a step). The limits that an operator may change are data:
``gate.yaml`` and ``monitor.yaml``.
"""
