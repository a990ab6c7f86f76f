"""The league: published figures, the authors' recipe run here, and ours, by one protocol and on the same rows.

Run: PYTHONPATH=. python -m benchmarks.league.run [--simulated ROWS] [--parts table served retraining]

The winner is then served by a gateway, and the whole history replayed under rules of retraining. Without the handbook's
transactions it runs on simulated ones. Everything of ours was chosen on earlier weeks, which are measured beside the
test weeks. A part that is not asked for stays as it was kept.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.league.entries import ENTRIES, PUBLISHED, RECIPE, Entry
from benchmarks.league.protocol import (
    CHOICE_WEEKS,
    TEST_WEEKS,
    WEEK,
    Figures,
    Rows,
    expected,
    figures,
    mean,
    test_rows,
)
from benchmarks.league.retraining import measure_retraining
from benchmarks.league.retraining import table as retraining_table
from benchmarks.league.served import CLIENTS, ServedWeek, milliseconds, serve
from benchmarks.league.transactions import League, league
from ml_project.metrics import Estimate, paired_difference
from pipelines.pages.charts import Axis, Line, Picture, chart
from pipelines.pages.render import render

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "docs"
RESULTS: Final = ROOT / "benchmarks" / "results"
SIMULATED: Final = ROOT / "var" / "league"
"""Folder of results that are not the handbook's."""

LEAGUE, RETRAINING = "league", "retraining"
PARTS: Final = ("table", "served", "retraining")


@dataclass(frozen=True)
class Week:
    """One week: its rows, and every entry's figures and difference of average precision to the authors' recipe.

    ``expected`` is what `protocol.expected` says of the entry of the open class.
    """

    first_day: date
    rows: int
    frauds: int
    figures: dict[str, Figures]
    differences: dict[str, Estimate]
    expected: dict[str, dict[str, float]]


def measure(
    found: League,
    weeks: Sequence[date],
    entries: Sequence[Entry] = ENTRIES,
    replicates: int = 500,
    told: Callable[[str], object] = print,
) -> list[Week]:
    """Fit and measure every entry in every week; the recipe must be among them."""
    measured = []
    for first_day in weeks:
        rows = test_rows(found, first_day)
        labelled = Rows.of(found, rows)
        scores: dict[str, NDArray[np.float64]] = {}
        foretold: dict[str, dict[str, float]] = {}
        for entry in entries:
            score = entry.fitted(found, first_day)
            scores[entry.key] = score(rows)
            if entry.features == "ours":
                foretold = expected(found, first_day, score, replicates)
        of_week = {key: figures(found, rows, score, replicates) for key, score in scores.items()}
        differences = {
            key: paired_difference(labelled, score, scores[RECIPE], replicates=replicates)["average_precision"]
            for key, score in scores.items()
            if key != RECIPE
        }
        measured.append(Week(first_day, len(rows), int(labelled.label.sum()), of_week, differences, foretold))
        said = ", ".join(f"{key} {each.average_precision.value:.3f}" for key, each in of_week.items())
        told(f"week from {first_day}: {len(rows):,} transactions, average precision {said}")
    return measured


def report(found: League, choice: Sequence[Week], test: Sequence[Week], entries: Sequence[Entry]) -> dict[str, Any]:
    """All of it for JSON and the page."""
    rows = []
    for entry in entries:
        tested, chosen = ([week.figures[entry.key] for week in weeks] for weeks in (test, choice))
        rows.append(
            {
                "key": entry.key,
                "name": entry.name,
                "features": "the handbook's 15" if entry.features == "authors" else "contracts/cards.yaml",
                "days": entry.days,
                "chosen_on": entry.chosen_on,
                "test": _mean(tested),
                "choice": _mean(chosen),
            }
        )
    foretold = [each for week in (*choice, *test) for each in week.expected.values()]
    return {
        "source": found.source,
        "foretold": {
            "figures": len(foretold),
            "within": sum(each["low"] <= each["later"] <= each["high"] for each in foretold),
        },
        "transactions": len(found.ours),
        "frauds": found.ours.frauds,
        "cards_per_day": found.cards_per_day,
        "published": [asdict(each) for each in PUBLISHED],
        "entries": rows,
        "weeks": [_week(week, "choice") for week in choice] + [_week(week, "test") for week in test],
    }


def _mean(weeks: Sequence[Figures]) -> dict[str, float]:
    names = ("roc_auc", "average_precision", "card_precision")
    return {name: round(value, 4) for name, value in zip(names, mean(weeks), strict=True)}


def _week(week: Week, kind: str) -> dict[str, Any]:
    found = {
        key: {
            "roc_auc": round(each.roc_auc, 4),
            "average_precision": _rounded(each.average_precision),
            "card_precision": round(each.card_precision, 4),
            **({"difference": _rounded(week.differences[key])} if key in week.differences else {}),
        }
        for key, each in week.figures.items()
    }
    foretold = {name: {key: round(value, 4) for key, value in values.items()} for name, values in week.expected.items()}
    said = {"first_day": f"{week.first_day}", "kind": kind, "rows": week.rows, "frauds": week.frauds}
    return {**said, "entries": found, "expected": foretold}


def _rounded(figure: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(figure).items()}


def served_report(weeks: Sequence[ServedWeek]) -> dict[str, Any]:
    """What the gateway did, for JSON and the page: over all requests, and week by week."""
    requests = sum(week.requests for week in weeks)
    return {
        "clients": CLIENTS,
        "requests": requests,
        "different": sum(week.different for week in weeks),
        **milliseconds(weeks),
        "figures": _mean([week.figures for week in weeks]),
        "weeks": [
            {
                "first_day": f"{week.first_day}",
                "requests": week.requests,
                "different": week.different,
                **milliseconds([week]),
                "seconds": round(week.seconds, 1),
                "average_precision": round(week.figures.average_precision.value, 4),
            }
            for week in weeks
        ],
    }


def table(content: dict[str, Any]) -> str:
    """For a terminal: means of the test weeks."""
    lines = [f"{'':50s}{'AUC':>6s}{'AP':>6s}{'CP':>6s}{'p50':>6s}{'p99':>6s}"]
    lines += [f"{'published: ' + each['name']:50s}" + _columns(each) for each in content["published"]]
    for each in content["entries"]:
        served = content.get("served", {}) if each["key"] == "open" else {}
        lines.append(f"{each['name'].split(' (')[0]:50s}" + _columns(each["test"], served))
    cards = f"AP: average precision, CP: card precision at {content['cards_per_day']}"
    return "\n".join([*lines, f"{cards}, p50, p99: ms of POST /predict"])


def _columns(values: dict[str, float | None], served: dict[str, float] = {}) -> str:  # noqa: B006 - only read
    chosen = (values["roc_auc"], values["average_precision"], values["card_precision"])
    figures = "".join("     -" if value is None else f"{value:6.3f}" for value in chosen)
    return figures + (f"{served['p50']:6.1f}{served['p99']:6.1f}" if served else "     -     -")


_COLOURS: Final = ("other", "champion", "another", "candidate")


def page(content: dict[str, Any]) -> str:
    """HTML of the results."""
    weeks, entries = content["weeks"], content["entries"]
    names = tuple(f"{date.fromisoformat(week['first_day']):%-d/%-m}" for week in weeks)
    places = np.arange(len(weeks), dtype=float)
    lines = []
    for entry, colour in zip(entries, _COLOURS, strict=False):
        values = [week["entries"][entry["key"]]["average_precision"]["value"] for week in weeks]
        lines.append(Line(entry["name"].split(" (")[0], places, np.array(values), colour, marker="o"))
    gains = []
    for entry, colour in zip(entries, _COLOURS, strict=False):
        found = [week["entries"][entry["key"]].get("difference") for week in weeks]
        if entry["key"] not in ("closed", "open") or None in found:
            continue
        gains.append(Line(entry["name"], places, np.array([each["value"] for each in found]), colour, marker="o"))
        gains += [
            Line("", [place, place], [each["low"], each["high"]], colour)
            for place, each in zip(places.tolist(), found, strict=True)
        ]
    axis = Axis("first day of the week (day/month of 2018)", ticks=names)
    lowest, highest = min(min(line.y) for line in lines), max(max(line.y) for line in lines)
    limits = lowest - (highest - lowest) / 2, highest + 0.01  # room for the names below the lines
    pictures = [
        Picture(
            "Average precision",
            chart("Average precision", axis, Axis("average precision", limits=limits), lines),
            "Week by week; everything of the platform was chosen on the weeks before 8 August.",
        ),
        Picture(
            "Difference to the authors' recipe",
            chart("Difference to the authors' recipe", axis, Axis("average precision, difference"), gains),
            "On the same bootstrap replicates, with 95 % intervals; above 0 the platform is better.",
        ),
    ]
    return render(
        "league.html",
        title="A public league",
        made_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        content=content,
        pictures=pictures,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=int, metavar="ROWS", help="about so many simulated transactions")
    parser.add_argument("--replicates", type=int, default=500, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to run (default: all)")
    parser.add_argument("--days", type=int, default=WEEK, help="of each test week that are served (default: all)")
    options = parser.parse_args()
    found = league(options.simulated)
    print(f"{found.source}: {len(found.ours):,}, {found.ours.frauds:,} frauds")
    simulated = "simulated" in found.source
    results, pages = (SIMULATED, SIMULATED) if simulated else (RESULTS, PAGES)
    content = _kept(results / f"{LEAGUE}.json", found)
    if "table" in options.parts:
        with _timed() as minutes:
            choice, test = (
                measure(found, weeks, replicates=options.replicates) for weeks in (CHOICE_WEEKS, TEST_WEEKS)
            )
        content = {**content, **report(found, choice, test, ENTRIES), "minutes": minutes()}
    if "served" in options.parts and content:
        with _timed() as minutes, tempfile.TemporaryDirectory() as scratch:
            sent = serve(found, TEST_WEEKS, Path(scratch), days=options.days, replicates=options.replicates)
            content["served"] = {**served_report(list(sent)), "days": options.days}
            content["served"]["minutes"] = minutes()
    if {"table", "served"} & set(options.parts) and content:
        _write(results / f"{LEAGUE}.json", _json(content))
        _write(pages / f"{LEAGUE}.html", page(content))
        print(table(content))
    if "retraining" in options.parts:
        with _timed() as minutes:
            replayed, html = measure_retraining(found)
        _write(results / f"{RETRAINING}.json", _json({**replayed, "minutes": minutes()}))
        _write(pages / f"{RETRAINING}.html", html)
        print(retraining_table(replayed))


def _kept(path: Path, found: League) -> dict[str, Any]:
    """What an earlier execution kept of the same transactions."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = (content.get("source"), content.get("transactions")) == (found.source, len(found.ours))
    return content if same else {}


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    """Minutes so far."""
    begun = time.monotonic()
    yield lambda: round((time.monotonic() - begun) / 60, 1)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"written to {target}")


if __name__ == "__main__":
    main()
