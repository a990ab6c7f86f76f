"""What the gateway says about itself: logs and metrics.

- ``request``: the record of a request in progress, and logs as JSON lines
- ``metrics``: counters, histograms and gauges, as Prometheus text and as a summary
- ``emf``: the same requests as CloudWatch metrics inside the log
- ``multiprocess``: how the metrics of several workers add up

`request` and `multiprocess` are also imported by the parent of several workers, and stay light.
"""
