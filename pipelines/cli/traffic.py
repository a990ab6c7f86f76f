"""The command ``simulate-traffic``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ml_project.errors import InvalidInput

if TYPE_CHECKING:
    from ml_project.contract import Contract
    from ml_project.simulator import FraudWave
    from pipelines.traffic.run import Progress


_LINE_SECONDS = 5.0

Url = Annotated[str, typer.Option(envvar="FRAUD_GATEWAY_URL", help="The gateway.")]
Key = Annotated[str, typer.Option(envvar="FRAUD_API_KEY", help="API key; prefer the variable to the option.")]
Rate = Annotated[float, typer.Option(min=0, help="Transactions a second; 0: as fast as the gateway answers.")]
Duration = Annotated[str, typer.Option(help="Event time that the traffic spans: 10m, 24h, 30d.")]
PerDay = Annotated[
    float | None, typer.Option(help="Transactions per day of event time; by default the rate's, else 2000.")
]
Data = Annotated[str, typer.Option(help="simulated, or a CSV or Parquet file or folder with labels.")]
Start = Annotated[
    str | None, typer.Option(help="Event time at which the traffic begins; by default so that it ends now.")
]
Drift = Annotated[
    list[str] | None, typer.Option(help="FIELD=0.5 shifts a field by half a standard deviation; repeatable.")
]
DriftAfter = Annotated[str, typer.Option(help="Event time before drift and amount factor set in, such as 20d.")]
FraudRate = Annotated[float, typer.Option(min=0, max=1, help="Share of frauds in simulated traffic.")]
Factor = Annotated[float, typer.Option(help="Multiplies amounts.")]
Wave = Annotated[str | None, typer.Option(help="START,LENGTH,FACTOR: 36h,6h,20 has 20 times the frauds for 6 hours.")]
Delay = Annotated[str | None, typer.Option(help="Event time until labels come, such as 7d; none are sent without it.")]
Share = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of approvals that are reviewed too.",
    ),
]
Batch = Annotated[int, typer.Option(min=1, max=10_000, help="Transactions in one request; 1 takes /predict.")]
Connections = Annotated[int, typer.Option(min=1, max=256, help="Requests sent at the same time.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to wait for a gateway that does not answer.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")]


def simulate_traffic(
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
    rate: Rate = 0.0,
    duration: Duration = "24h",
    per_day: PerDay = None,
    data: Data = "simulated",
    start: Start = None,
    drift: Drift = None,
    drift_after: DriftAfter = "0d",
    amount_factor: Factor = 1.0,
    fraud_rate: FraudRate = 0.00173,
    fraud_wave: Wave = None,
    label_delay: Delay = None,
    review_sample_rate: Share = 0.001,
    batch: Batch = 1,
    connections: Connections = 8,
    patience: Patience = 120.0,
    seed: Seed = 0,
) -> None:
    """Send transactions with event times to a running gateway, and their labels later.

    Event time is simulated: 30 days of 2,000 transactions go out in minutes. Reviewers label the alerts, customers
    report the frauds, a sample of the rest is reviewed. With the same --start and --seed the same transactions are sent
    again, which the gateway answers as before and keeps once. The command waits for a gateway that restarts.

    Examples
    --------
    python -m pipelines simulate-traffic --duration 30d --batch 100 --label-delay 7d --drift FIELD=0.5 --drift-after 20d

    python -m pipelines simulate-traffic --rate 50 --duration 10m
    """
    import asyncio
    from datetime import UTC, datetime

    from pipelines.cli.options import settings_with
    from pipelines.console import console
    from pipelines.monitoring.window import parse_moment, parse_span
    from pipelines.traffic.run import GatewayClient, Progress, SendOptions, send
    from pipelines.traffic.source import TrafficPlan, total, transactions

    span, contract = parse_span(duration), settings_with().data_contract
    plan = TrafficPlan(
        data=data,
        start=parse_moment(start) if start else datetime.now(UTC).replace(microsecond=0) - span,
        duration=span,
        per_day=per_day or rate * 86_400 or 2_000.0,
        seed=seed,
        drift=dict(_shift(each, contract) for each in drift or []),
        amount_factor=amount_factor,
        drift_after=parse_span(drift_after),
        fraud_rate=fraud_rate,
        fraud_wave=_wave(fraud_wave),
        contract=contract,
    )
    how = SendOptions(rate, batch, connections, parse_span(label_delay) if label_delay else None, review_sample_rate)
    traffic = transactions(plan)
    progress = Progress()

    async def run() -> None:
        async with GatewayClient(url, key, connections, patience) as client:
            with _shown(progress, total(plan)) as show:
                try:
                    await send(traffic, client, how, progress, show)
                finally:
                    retries.append(client.retries)

    retries: list[int] = []
    try:
        asyncio.run(run())
    finally:
        console.print(_summary(progress, sum(retries)))


def _summary(progress: "Progress", retries: int) -> str:
    waiting = f" ({len(progress.waiting):,} not due yet)" if progress.waiting else ""
    speed = f"in {progress.seconds:.1f} s, {progress.per_second:,.0f} a second"
    return (
        f"[bold]{progress.sent:,} transactions[/bold] {speed}: "
        f"{progress.alerts:,} alerts, {progress.frauds:,} frauds, {progress.labels:,} labels{waiting}, "
        f"{retries} retries"
    )


@contextmanager
def _shown(progress: "Progress", total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; elsewhere a line every few seconds."""
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from pipelines.console import console

    def words() -> str:
        when = "" if progress.event_time is None else f"event time {progress.event_time:%Y-%m-%d %H:%M}, "
        return f"{when}{progress.per_second:,.0f} a second, {progress.alerts:,} alerts, {progress.labels:,} labels"

    if not console.is_terminal:
        said = time.monotonic()

        def say() -> None:
            nonlocal said
            if time.monotonic() - said >= _LINE_SECONDS:
                said = time.monotonic()
                console.print(f"  {progress.sent:,}{'' if total is None else f'/{total:,}'} sent; {words()}")

        yield say
        return
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.description}[/dim]")
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.update(task, completed=progress.sent, description=words())


def _shift(text: str, contract: "Contract") -> tuple[str, float]:
    name, _, deviations = text.partition("=")
    if name not in contract.raw_fields or name == contract.time:
        raise InvalidInput(f"--drift {text}: there is no feature {name!r} to shift.", "Write FIELD=0.5.")
    try:
        return name, float(deviations)
    except ValueError:
        raise InvalidInput(f"--drift {text}: {deviations!r} is not a number.", "Write FIELD=0.5.") from None


def _wave(text: str | None) -> "FraudWave | None":
    from datetime import timedelta

    from ml_project.simulator import FraudWave
    from pipelines.monitoring.window import parse_span

    if text is None:
        return None
    try:
        begin, length, factor = text.split(",")
        hour = timedelta(hours=1)
        return FraudWave(parse_span(begin) / hour, parse_span(length) / hour, float(factor))
    except ValueError:
        raise InvalidInput(
            f"--fraud-wave {text} is not a wave.", "Write START,LENGTH,FACTOR, such as 36h,6h,20."
        ) from None
