"""A real gateway process with a real model behind it, and a real headless Chromium in front."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.released import Version, fit_versions
from tests.browser.traffic import keep_a_day
from tests.browser.visits import Visit
from tests.support.chromium import running_chromium
from tests.support.gateway import Gateway
from tests.support.processes import free_port

expect.set_options(timeout=60_000)  # Playwright's five seconds are too few on a busy machine

Visitor = Callable[..., Visit]
MakeGateway = Callable[..., Gateway]
Pictures = Callable[[Visit, str], None]


@pytest.fixture(scope="session")
def versions() -> list[Version]:
    """Versions 1 and 2."""
    return fit_versions()


# Not for the session: Playwright keeps an event loop running, which other tests could not start theirs beside.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as launched:
        yield launched


def started_gateway(ends: ExitStack, folder: Path, version: Version, **environment: str) -> Gateway:
    settings = {
        "FRAUD_REQUIRE_KEYS": "false",
        "FRAUD_BOOTSTRAP_KEY": "",
        # no tracking server: the release pointer says which version is live
        "FRAUD_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
        "FRAUD_MLFLOW_PAGE": "https://mlflow.example.org",
    }
    made = Gateway(folder, **(settings | environment))
    ends.push(made)
    version.publish(made.releases)
    made.start()
    made.wait_for_version(version.number)
    return made


@pytest.fixture(scope="session")
def gateway(versions: list[Version], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A running gateway with version 1, open to its own machine, which tests share and leave as it is."""
    with ExitStack() as ends:
        yield started_gateway(ends, tmp_path_factory.mktemp("gateway"), versions[0])


@pytest.fixture(scope="package")
def watched(versions: list[Version], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same with a day of decisions in its database, which tests look at and leave as they are."""
    with ExitStack() as ends:
        made = started_gateway(ends, tmp_path_factory.mktemp("watched"), versions[0])
        keep_a_day(versions[0], made.state)
        yield made


@pytest.fixture
def make_gateway(versions: list[Version], tmp_path: Path) -> Iterator[MakeGateway]:
    """A gateway of the test's own, to stop, swap or lock; settings as keywords."""
    with ExitStack() as ends:
        yield partial(started_gateway, ends, tmp_path, versions[0])


@pytest.fixture
def visit(browser: Browser, gateway: Gateway) -> Iterator[Visitor]:
    """Opens tabs: `visit()`, `visit(width=360, scheme="dark")`, `visit(url=...)`; none may complain."""
    visits: list[Visit] = []

    def begin(url: str = gateway.url, **options: object) -> Visit:
        visits.append(Visit(browser, url, **options))
        return visits[-1]

    yield begin
    for one in visits:
        one.check()


@pytest.fixture
def pictures() -> Pictures:
    """Keeps a picture of the whole page under a name, for people: where FRAUD_TEST_PICTURES names a folder for them."""
    folder = os.environ.get("FRAUD_TEST_PICTURES")

    def take(tab: Visit, name: str) -> None:
        if folder is None:  # drawing it takes as long as all else
            return
        path = Path(folder) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tab.picture(path)
        assert path.stat().st_size > 10_000

    return take
