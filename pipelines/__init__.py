"""The steps of the pipeline, with their side effects: files, Great Expectations, Optuna, MLflow."""
