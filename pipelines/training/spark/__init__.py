"""Training on rows that stay on Spark's executors: an engine for `ml_project.fitting`.

May import `pipelines.training.train` and what it imports. In the order in which data passes them:

- `engine`: the step ``train`` on Spark, and the engine that fits and scores
- `part`: transactions as a Spark table, and stretches of it by time
- `passes`: what executors do with rows: features, scores, samples, boosted trees
"""
