from datetime import UTC, datetime

from stores.emf import MOST_METRICS, emf_content


def test_a_line_declares_its_metrics_and_holds_their_values() -> None:
    when = datetime(2026, 3, 1, tzinfo=UTC)
    content = emf_content("Fraud", {"Model": "m"}, {"Latency": [1.0, 2.5], "Requests": 2}, {"Latency": "Ms"}, when)
    assert content == {
        "_aws": {
            "Timestamp": 1_772_323_200_000,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Fraud",
                    "Dimensions": [["Model"]],
                    "Metrics": [{"Name": "Latency", "Unit": "Ms"}, {"Name": "Requests"}],
                }
            ],
        },
        "Model": "m",
        "Latency": [1.0, 2.5],
        "Requests": 2,
    }


def test_no_more_metrics_are_declared_than_cloudwatch_takes() -> None:
    values = {f"figure_{number}": float(number) for number in range(MOST_METRICS + 5)}
    content = emf_content("Fraud", {"Model": "m"}, values)
    assert len(content["_aws"]["CloudWatchMetrics"][0]["Metrics"]) == MOST_METRICS
    assert content["figure_104"] == 104.0
