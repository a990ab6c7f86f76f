"""CloudWatch's embedded metric format: metrics as a line of JSON in a log, without an agent or a permission.

Specification: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

MOST_METRICS: Final = 100
"""The specification's limit for one line."""

MOST_VALUES: Final = 100
"""The specification's limit for one metric of one line."""


def emf_content(
    namespace: str,
    dimensions: Mapping[str, str],
    values: Mapping[str, float | Sequence[float]],
    units: Mapping[str, str] | None = None,
    when: datetime | None = None,
) -> dict[str, Any]:
    """The content of one line, for JSON.

    Parameters
    ----------
    namespace : str
        CloudWatch namespace.
    dimensions : mapping
        Names and values of the one set of dimensions.
    values : mapping
        A number, or up to `MOST_VALUES` of them, by metric. What comes after `MOST_METRICS` is in the line, but is no
        metric.
    units : mapping, optional
        By metric; none by default.
    when : datetime, optional
        Of the values; now by default.
    """
    given = units or {}
    metrics = [
        {"Name": name} | ({"Unit": given[name]} if name in given else {}) for name in list(values)[:MOST_METRICS]
    ]
    directive = {"Namespace": namespace, "Dimensions": [list(dimensions)], "Metrics": metrics}
    moment = when or datetime.now(UTC)
    aws = {"Timestamp": int(moment.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": aws, **dimensions, **values}
