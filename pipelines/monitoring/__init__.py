"""Monitoring: the decisions of a window, held against the baseline that the model's bundle carries.

In the order in which data pass:

- ``window``: the time that a run looks at, and how people write times.
- ``run``: reads, compares, writes an MLflow run, sends notices.
- ``kept_decisions``: rows of the decision store, also for ``score --replay`` and ``retrain``.
- ``figures``: limits, drift, decisions, latency, and quality where labels have arrived.
- ``expected``: quality that labels have not come for yet.
- ``challenger``: a shadow challenger compared with the champion.
- ``skew``: features from history as served, against their definition; ``skew_causes``: why they differ;
  ``known_past``: all that is known of their keys, and for ``verify`` whether gateways know it.
- ``report``: everything that was found; as table, JSON, Prometheus file, CloudWatch line and notice.
- ``page``, ``evidently_page``: the report as HTML, and Evidently's own where it is installed.

Imports ``ml_project``, ``stores``, ``pipelines.pages`` and the tracking of ``pipelines``; no Spark and no training.
"""
