"""Scoring whole tables, and scoring kept decisions again.

A job is cut into parts. A part is scored the same way by every engine; engines differ only in where parts run.

- ``run``: plan, score the parts that are missing, commit, write a run; what a finished job reports.
- ``plan``: what is scored, cut into parts.
- ``engines``: parts on the cores of this machine, or on Spark's executors.
- ``history``: what entities did before, computed over the whole table before its parts are scored.
- ``parts``: reads the rows of a part, has them scored, writes its files and its receipt.
- ``rows``: scores a batch, quarantines what cannot be scored, counts.
- ``output``: the staging folder and its commit.
- ``replay``: ``score --replay``, what another version would have decided.

Imports ``ml_project``, ``stores``, ``pipelines.data`` (CSV) and ``pipelines.monitoring`` (limits, kept decisions,
windows). Spark is imported when the Spark engine runs, boto3 when an address is in S3.
"""
