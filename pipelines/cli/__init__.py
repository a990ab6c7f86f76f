"""The commands of ``python -m pipelines``: options in, calls into the other packages, text on the screen.

Every command imports its work when it is called, so that ``--help`` stays quick. Only typer, `pipelines.settings` and
`ml_project.errors` may be imported at the top.

- `options`: options that several commands share, and how they become settings
- `steps`: from data to a finished model, and how good it is (ingest, validate, train, threshold, main, retrain, up,
  compare, prequential)
- `promotion`: what is Production, and who may say so (promote, rollback, approve, policy, history, verify, access), and
  how MLflow tells of promotions (webhook add, list, test, remove)
- `operations`: what runs while a model is live (score, monitor, schedule, prune)
- `contract`: what a transaction is (contract infer, check, show)
- `events`: past transactions (events rebuild)
- `traffic`: simulate-traffic
"""
