"""What gateway and pipelines keep things in: the model registry, releases, objects, and the decisions.

The live version, in the order in which a gateway asks:

- `released`: the version that the release pointer names, its gate result and promotions. Imports no MLflow.
- `attestation`: what the promotion says of a version, signed. Imports cryptography.
- `releases`: promoted bundles beside their pointer ``Production.json``.
- `production`: the live version and the challenger by the registry, or by the release pointer while MLflow is down.
- `bundle_trial`: a bundle's first scoring, in a child process with little time and memory.
- `registry`: the registered model: aliases, versions and their bundles.
- `webhooks`: what lets MLflow tell gateways of a promotion.
- `history`: every move of an alias, kept in one MLflow run; `moves` says what follows from them, without MLflow.

What they stand on:

- `settings`: the settings that gateway and pipelines share.
- `key_hash`: what is kept of a card or customer in place of its name.
- `objects`: contents by name, in a local folder or in S3 (`s3`, which imports boto3, and `ranged_file`, which reads by
  ranges).
- `files`: files and folders that appear whole or not at all.
- `emf`: CloudWatch's metrics as lines of a log.
- `mlflow_client`: how MLflow's client behaves, and its errors.
- `answers`: how long, and how large, the answers of other servers may be.
- `sql`: PostgreSQL's driver and limits, SQLAlchemy's errors, and many values as one parameter.
- `error_text`: addresses without secrets, and why a connection failed.

`decisions/` keeps every decision, its label and the API keys; see its own map.

May import `ml_project`, never `serving` or `pipelines`. MLflow, boto3 and SQLAlchemy are imported only by the modules
named for them, by `production`, `registry` and `history`, and by `decisions`.
"""
