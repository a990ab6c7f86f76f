"""Training on rows that stay on Spark's executors: an engine for `ml_project.fitting`."""
