"""A swap while batches are being answered."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import httpx


def test_a_swap_never_mixes_versions(serve, source, make_scorer, legitimate, fraudulent) -> None:
    alerts = {1: 0.3, 2: 0.6}
    scorers = {version: make_scorer(alert=alert) for version, alert in alerts.items()}
    source.promote(1, scorers[1])
    batch = [legitimate, fraudulent] * 40
    with serve(source, poll_seconds=0.002, batch_workers=4) as gateway:
        gateway.wait_for(1)

        def ask(_number: int) -> list[dict]:
            response = client.post("/predict-batch", json=batch)
            assert response.status_code == 200
            return response.json()

        with httpx.Client(base_url=gateway.client.base_url, timeout=10) as client, ThreadPoolExecutor(4) as clients:
            asked = clients.map(ask, range(60))
            between = []
            for version in [next(versions) for versions in [cycle((2, 1))] for _ in range(20)]:
                source.promote(version, scorers[version])
                gateway.wait_for(version)
                between.append(ask(0))
            answers = [*asked, *between]
    seen = set()
    for answer in answers:
        told = {(row["model_version"], row["threshold_used"]) for row in answer}
        assert len(told) == 1
        seen |= told
    assert seen == {("1", 0.3), ("2", 0.6)}
    assert len(source.loads) >= 20
