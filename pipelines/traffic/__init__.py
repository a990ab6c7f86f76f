"""Traffic for a running gateway: transactions with event times, and their labels, which come later.

- ``source``: the transactions, simulated or from a file.
- ``run``: sends them and their labels, and waits for a gateway that is unreachable.

Knows the gateway by HTTP only. Imports ``ml_project`` and the readers of files of ``pipelines``.
"""
