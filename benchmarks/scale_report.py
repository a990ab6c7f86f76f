"""Tables from what `bench_scale` has measured, as Markdown: the figures, and what follows for a billion rows.

PYTHONPATH=. python benchmarks/scale_report.py [--cores 8] [--price 0.40] [benchmarks/results/scale.json]
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results" / "scale.json"
ROWS: Final = 1_000_000_000
WORKING_SHARE: Final = 0.8
"""Of a cluster's time: the rest is start, stragglers and commit."""

_FIGURES: Final = ("rows", "seconds", "rows_per_second", "peak_mb")
_MACHINES: Final = (1, 4, 16, 64)


def figures(summary: dict[str, Any]) -> Iterator[str]:
    """Each measurement, and how time grows with rows."""
    yield "| job, engine | rows | seconds | rows/s | peak memory |"
    yield "| --- | --- | --- | --- | --- |"
    for each in sorted(summary["measurements"], key=lambda each: (each["job"], each["engine"], each["rows"])):
        cells = [f"{each['job']}, {each['engine']}", *(f"{each[name]:,.0f}" for name in _FIGURES)]
        yield f"| {' | '.join(cells)} MB |"
    yield ""
    yield "| | exponent of time against rows |"
    yield "| --- | --- |"
    for name, exponent in summary["exponents"].items():
        yield f"| {name.replace(' ', ', ')} | {exponent:.2f} |"


def billion(summary: dict[str, Any], cores: int, price: float) -> Iterator[str]:
    """Per number of machines, the time of each job on Spark and what it costs."""
    hours = {job: core_hours(summary, job) for job in ("score", "train")}
    yield f"| machines of {cores} cores | score | train |"
    yield "| --- | --- | --- |"
    for machines in _MACHINES:
        times = [each / (machines * cores * WORKING_SHARE) for each in hours.values()]
        cells = [f"{60 * time:,.1f} min, ${time * machines * price:.2f}" for time in times]
        yield f"| {machines} | {' | '.join(cells)} |"


def core_hours(summary: dict[str, Any], job: str) -> float:
    """Of Spark for all rows, at the rate of its largest table; that growth is below linear is not counted on."""
    done = [each for each in summary["measurements"] if (each["job"], each["engine"]) == (job, "spark")]
    largest = max(done, key=lambda each: float(each["rows"]))
    rate = largest["rows"] / largest["seconds"] / summary["cores"]
    exponent = max(1.0, summary["exponents"][f"{job} spark"])
    return float(ROWS / rate / 3600 * (ROWS / largest["rows"]) ** (exponent - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--cores", type=int, default=8, help="of a machine (default: 8)")
    parser.add_argument("--price", type=float, default=0.40, help="of a machine's hour (default: 0.40)")
    arguments = parser.parse_args()
    summary = json.loads(arguments.results.read_text())
    print("\n".join([*figures(summary), "", *billion(summary, arguments.cores, arguments.price)]))


if __name__ == "__main__":
    main()
