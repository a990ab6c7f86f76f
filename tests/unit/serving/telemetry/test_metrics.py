"""What is counted, after requests that are known."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from ml_project.errors import InvalidBundle
from serving.errors import problem_response
from serving.live_model import ModelSlot
from serving.middleware import RequestLog
from serving.telemetry.metrics import GatewayMetrics, LatestLatencies, StoreFigures, latencies_in
from serving.telemetry.multiprocess import LATENCIES_BYTES, LATENCIES_KEPT
from serving.telemetry.request import RequestRecord, count_decisions, stage

JSON = {"Accept": "application/json"}
REQUESTS = "fraud_request_duration_seconds_count"


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Name and label values, by the labels' names, to value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (s.name, *(value for _label, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def settled(client: httpx.Client, key: tuple[str, ...], value: float) -> dict[tuple[str, ...], float]:
    """The samples as soon as one has a value: a request is counted just after its answer went out."""
    deadline = time.monotonic() + 60
    while (found := samples(client)).get(key) != value:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.fixture
def client(serve: Callable[..., Any], source: Any, scorer: Any, legitimate: Any, fraudulent: Any) -> Iterator[Any]:
    """A client of a gateway that had two single rows, a batch of three, trials, a refused row and an unknown path."""
    source.promote(3, scorer)
    with serve(source) as gateway:
        gateway.wait_for(3)
        for row in (legitimate, fraudulent):
            assert gateway.client.post("/predict", json=row).status_code == 200
        assert gateway.client.post("/predict-batch", json=[legitimate, fraudulent, legitimate]).status_code == 200
        for unreal in ({"trial": True}, {"keep": False}):
            assert gateway.client.post("/predict", params=unreal, json=fraudulent).status_code == 200
            assert gateway.client.post("/predict-batch", params=unreal, json=[fraudulent] * 2).status_code == 200
        assert gateway.client.post("/predict", json={}).status_code == 422
        assert gateway.client.get("/nowhere").status_code == 404
        settled(gateway.client, (REQUESTS, "other", "4xx"), 1)
        yield gateway.client


def test_prometheus_text(client) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == CONTENT_TYPE_LATEST
    found = samples(client)
    expected = {
        (REQUESTS, "/predict", "2xx"): 4,
        (REQUESTS, "/predict", "4xx"): 1,
        (REQUESTS, "/predict-batch", "2xx"): 3,
        ("fraud_request_duration_seconds_bucket", "+Inf", "/predict", "2xx"): 4,
        ("fraud_request_duration_seconds_bucket", "10.0", "/predict", "2xx"): 4,
        ("fraud_decisions_total", "APPROVE"): 3,
        ("fraud_decisions_total", "REVIEW"): 0,
        ("fraud_decisions_total", "DECLINE"): 2,
        ("fraud_rows_total", "single"): 2,
        ("fraud_rows_total", "batch"): 3,
        ("fraud_rows_total", "trial"): 6,
        ("fraud_stage_duration_seconds_count", "parse"): 8,
        ("fraud_stage_duration_seconds_count", "score"): 7,
        ("fraud_stage_duration_seconds_count", "explain"): 6,
        ("fraud_model_info", "digest-of-3", "3"): 1,
        ("fraud_workers",): 1,
        ("fraud_model_loaded",): 1,
        ("fraud_model_swaps_total", "live"): 1,
        ("fraud_model_swaps_total", "refused"): 0,
        ("fraud_store_waiting",): 0,
        ("fraud_store_away",): 0,
        ("fraud_store_spool_bytes",): 0,
    }
    assert {key: found[key] for key in expected} == expected
    seconds = found["fraud_request_duration_seconds_sum", "/predict", "2xx"]
    uptime = client.get("/metrics", headers=JSON).json()["uptime_seconds"]
    assert 0 < seconds < uptime
    scoring = sum(value for (name, *_), value in found.items() if name == "fraud_stage_duration_seconds_sum")
    assert 0 < scoring < uptime


def test_json_for_the_clients_of_the_contract(client) -> None:
    body = client.get("/metrics", headers=JSON).json()
    assert list(body) == [
        "uptime_seconds",
        "total_requests",
        "fraud_predictions",
        "legitimate_predictions",
        "average_latency_ms",
        "p99_latency_ms",
        "error_rate",
    ]
    assert (body["total_requests"], body["fraud_predictions"], body["legitimate_predictions"]) == (8, 2, 3)
    assert 0 < body["average_latency_ms"] <= body["p99_latency_ms"]
    assert 4 * body["average_latency_ms"] < 1_000 * body["uptime_seconds"]
    assert body["error_rate"] == 0


def test_requests_refused_before_they_reach_a_route_count_under_its_name() -> None:
    async def refuse(scope, receive, send) -> None:
        await problem_response(429, "Too many.", "r")(scope, receive, send)

    metrics = GatewayMetrics(ModelSlot())

    async def ask() -> None:
        transport = httpx.ASGITransport(RequestLog(refuse, metrics))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await client.post("/predict")
            await client.get("/a-scanners/path")

    asyncio.run(ask())
    assert metrics.summary()["total_requests"] == 1
    for route in ("/predict", "other"):
        assert metrics.registry.get_sample_value(REQUESTS, {"route": route, "status": "4xx"}) == 1


def test_how_the_store_is() -> None:
    metrics = GatewayMetrics(ModelSlot(), store=lambda: StoreFigures(12, True, 4096, 2, 1))
    metrics.refresh()
    names = ("waiting", "away", "spool_bytes", "spool_damaged_files", "spool_unreadable_files")
    assert [metrics.registry.get_sample_value(f"fraud_store_{name}") for name in names] == [12, 1, 4096, 2, 1]


def test_other_types_are_refused(client) -> None:
    assert client.get("/metrics", headers={"Accept": "image/png"}).status_code == 406


def test_without_a_model_requests_are_errors(serve, source, legitimate) -> None:
    with serve(source) as gateway:
        empty = gateway.client.get("/metrics", headers=JSON).json()
        assert {name: empty[name] for name in empty if name != "uptime_seconds"} == {
            "total_requests": 0,
            "fraud_predictions": 0,
            "legitimate_predictions": 0,
            "average_latency_ms": 0,
            "p99_latency_ms": 0,
            "error_rate": 0,
        }
        gateway.client.post("/predict", json=legitimate)
        found = settled(gateway.client, (REQUESTS, "/predict", "5xx"), 1)
        assert found["fraud_model_loaded",] == 0
        assert not any(name == "fraud_model_info" for name, *_ in found)
        assert gateway.client.get("/metrics", headers=JSON).json()["error_rate"] == 1


def test_what_became_of_swaps(serve, source, scorer) -> None:
    source.promote(1, scorer)
    with serve(source, poll_seconds=0.5) as gateway:  # a bad bundle is tried again after six of them
        gateway.wait_for(1)
        source.promote(2, InvalidBundle("Wrong digest."))
        found = settled(gateway.client, ("fraud_model_swaps_total", "refused"), 1)
        assert found["fraud_model_swaps_total", "live"] == 1
        assert found["fraud_model_info", "digest-of-1", "1"] == 1
        source.promote(3, scorer)
        found = settled(gateway.client, ("fraud_model_info", "digest-of-3", "3"), 1)
        assert found["fraud_model_info", "digest-of-1", "1"] == 0


def test_the_p99_is_exact_over_the_latest_requests() -> None:
    metrics = GatewayMetrics(ModelSlot())
    for milliseconds in range(1, 201):
        metrics.count("/predict", 200, milliseconds / 1000, RequestRecord("r"))
    assert metrics.summary()["p99_latency_ms"] == 198
    assert metrics.summary()["average_latency_ms"] == 100.5
    for _ in range(LATENCIES_KEPT):
        metrics.count("/predict", 500, 0.001, RequestRecord("r"))
    assert metrics.summary()["p99_latency_ms"] == 1
    assert metrics.summary()["error_rate"] == LATENCIES_KEPT / (LATENCIES_KEPT + 200)


def test_latencies_of_a_worker_that_died_count_on(tmp_path) -> None:
    paths = [tmp_path / "latencies_0", tmp_path / "latencies_1"]
    for path in paths:
        path.write_bytes(bytes(LATENCIES_BYTES))
    assert len(latencies_in(paths)) == 0
    LatestLatencies(paths[0]).add(0.5)
    LatestLatencies(paths[0]).add(0.25)
    LatestLatencies(paths[1]).add(1.0)
    assert sorted(latencies_in(paths)) == [0.25, 0.5, 1.0]


def test_applications_do_not_share_counters() -> None:
    first, second = GatewayMetrics(ModelSlot()), GatewayMetrics(ModelSlot())
    first.count("/predict", 200, 0.1, RequestRecord("r", decisions=[0, 1, 0]))
    assert first.summary()["fraud_predictions"] == 1
    assert second.summary()["total_requests"] == 0


def test_refused_rows_do_not_count() -> None:
    metrics = GatewayMetrics(ModelSlot())
    metrics.count("/predict-batch", 500, 0.1, RequestRecord("r", decisions=[5, 1, 0]))
    assert (metrics.summary()["legitimate_predictions"], metrics.summary()["fraud_predictions"]) == (0, 0)


def test_measuring_outside_of_a_request_does_nothing() -> None:
    with stage("score"):
        count_decisions([1, 2, 3])
