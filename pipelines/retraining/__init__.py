"""Retraining: base data and labelled decisions become a data set, and that a candidate for promotion.

In the order in which data pass:

- ``run``: the step; which unfinished run it continues, what it takes over from the champion, and the chain of steps.
- ``lease``: keeps a second retraining out, on this or another machine.
- ``dataset``: puts base data and decisions together; ``history``: features from history that were not served.

Imports ``pipelines.monitoring.kept_decisions`` for the decisions, the steps of ``pipelines``, and ``stores``.
"""
