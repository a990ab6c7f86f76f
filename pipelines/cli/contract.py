"""The commands that draft, check and show a contract: contract infer, check, show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_project.errors import InvalidInput
from pipelines.cli.options import settings_with

if TYPE_CHECKING:
    from ml_project.contract import Contract

contract = typer.Typer(
    help="Describe your transactions: draft a data contract from a table, check it, show it.\n\n"
    "Three commands lead from a table to predictions: `contract infer --data my.csv --label is_fraud --output "
    "my.yaml`, `contract check my.yaml --data my.csv`, then `make run DATA=my.csv CONTRACT=my.yaml`.",
    no_args_is_help=True,
)

FAULTS = 2

Named = Annotated[str, typer.Argument(help="A contract's file, or the name of one that comes with the platform.")]
Data = Annotated[str, typer.Option(help="A CSV or Parquet file or a folder of them, also s3://.")]
Entity = Annotated[
    list[str] | None, typer.Option(help="Column that names a customer, card or terminal; may be given several times.")
]


@contract.command()
def infer(
    data: Data,
    label: Annotated[str, typer.Option(help="Column that says which rows are frauds.")],
    time: Annotated[str, typer.Option(help="Column with the time: dates and times, or seconds.")] = "",
    entity: Entity = None,
    amount: Annotated[str, typer.Option(help="Column with the amount.")] = "",
    name: Annotated[str, typer.Option(help="The contract's name; by default the file's.")] = "",
    output: Annotated[str, typer.Option(help="File to write; the screen by default.")] = "",
) -> None:
    """Draft a contract from a table with labels: types, what may be missing, ranges, categories, features.

    The draft trains as it is. Each guess is a comment in it: read them once, and write what you know better.

    Columns with few different texts become categories; those with many are names of someone or something (entity),
    which are kept and are no features. Each --entity gets features of its history, where a column says when a
    transaction happened: how many before, their mean amount, and how long ago. Rows are ordered by --time, else by
    a column that looks like it, else they count as in the order of their file. Without an amount nothing is said of
    costs. A label may have a third value for unknown.

    Examples
    --------
    python -m pipelines contract infer --data shop.csv --label is_fraud --output shop.yaml

    python -m pipelines contract infer --data s3://bank/2026/ --label fraud --time booked_at --entity card --amount eur
    """
    from pipelines.console import console
    from pipelines.data.infer import Wishes, infer_contract

    settings = settings_with()
    wishes = Wishes(label, time, amount, tuple(entity or ()))
    called = name or _name_of(data)
    text = infer_contract(data, called, wishes, settings.s3_endpoint_url, settings.ingest_max_mb * 1024**2)
    if not output:
        typer.echo(text, nl=False)
        return
    path = Path(output)
    if path.exists():
        raise InvalidInput(f"{output} already exists.", "Give another --output, or remove it.")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output}: cannot be written ({error.strerror or error}).", "Check the folder.") from error
    console.print(f"{output} written. Read its comments, then:", markup=False)
    console.print(f"  python -m pipelines contract check {output} --data {data}", markup=False)
    console.print(f"  make run DATA={data} CONTRACT={output}", markup=False)


def _name_of(data: str) -> str:
    stem = data.rstrip("/").rpartition("/")[2].partition(".")[0].casefold()
    plain = "".join(each if each.isascii() and each.isalnum() else "_" for each in stem).strip("_")
    return (plain if plain[:1].isalpha() else f"table_{plain}")[:40].rstrip("_")


@contract.command()
def check(
    file: Named, data: Annotated[str, typer.Option(help="Also check this table against it, as ingest would.")] = ""
) -> None:
    """Check a contract: one line for each fault, with file, line and remedy; exit 2 if there is any.

    With --data the table is read and cleaned by it as well, so that wrong types, missing values and unknown columns
    show before anything is trained.

    Example: python -m pipelines contract check shop.yaml --data shop.csv
    """
    from ml_project.contract_file import InvalidContract, contract_named
    from pipelines.console import console, error_console

    try:
        known = contract_named(file)
    except InvalidContract as error:
        for line in error.lines:
            error_console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(FAULTS) from None
    console.print(f"{known}: {_sizes(known)}; no faults.", markup=False)
    if data:
        _check_table(known, data)


def _sizes(known: "Contract") -> str:
    learnt = f", and one for each value of {', '.join(known.unlearnt)}" if known.unlearnt else ""
    return f"{len(known.scored_fields)} scored fields, {len(known.features)} features{learnt}"


def _check_table(known: "Contract", data: str) -> None:
    from datetime import UTC, datetime

    from ml_project.cleaning import clean, learnt_values
    from pipelines.console import console
    from pipelines.data.files import read_table

    settings = settings_with()
    table = read_table(data, known, settings.s3_endpoint_url, settings.ingest_max_mb * 1024**2)
    resolved = known.with_values(learnt_values(table.frame, known))
    bounds = settings.event_time_bounds(datetime.now(UTC))
    _clean, report = clean(table.frame, resolved, settings.missing, name=data, place_of=table.place_of, bounds=bounds)
    console.print(f"{data}: {report.rows_out:,} rows to learn from, {report.frauds:,} frauds.", markup=False)
    for note in report.notes:
        console.print(f"  {note}", markup=False)


@contract.command()
def show(file: Named) -> None:
    """Print a contract as two tables: its fields and its features.

    Example: python -m pipelines contract show creditcard
    """
    from ml_project.contract_file import contract_named
    from ml_project.tables import spelled
    from pipelines.console import Table, console

    known = contract_named(file)
    fields = Table(("field", "type", "role", "presence", "values"), folding=("presence", "values"), title=str(known))
    for each in known.fields:
        limits = f"{each.minimum:g} or more" if each.minimum is not None and each.maximum is None else ""
        if each.minimum is not None and each.maximum is not None:
            limits = f"{each.minimum:g} to {each.maximum:g}"
        values = ", ".join(each.values[:8]) + (", …" if len(each.values) > 8 else "")
        learnt = "learnt at ingest" if each.name in known.unlearnt else ""
        presence = "required" if each.required else "may be missing"
        fields.add_row(each.name, each.type, each.role or "", presence, values or learnt or limits)
    label = known.label
    words = ", ".join(label.positive) + " / " + ", ".join(label.negative)
    unknown = f" / unknown: {', '.join(label.unknown)}" if label.unknown else ""
    fields.add_row(label.field, "label", "", "", f"{words}{unknown}")
    console.print(fields)
    console.print()
    features = Table(("feature", "made by", "of", "notes"), folding=("made by", "of", "notes"))
    for feature in known.features:
        test = f" > {feature.above:g}" if feature.above is not None else ""
        if feature.between is not None:
            test = f" in {feature.between[0]:g} to {feature.between[1]:g}"
        if feature.category is not None:
            test = f" = {feature.category or 'other'}"
        notes = [f"left out: {feature.left_out}"] if feature.left_out else []
        notes += [f"monotone: {feature.monotone}"] if feature.monotone != "none" else []
        notes += [feature.words] if feature.by is not None else []
        of = (
            ", ".join(spelled(feature.of)) if feature.by is None else f"{', '.join(feature.of)} by {feature.by}".strip()
        )
        features.add_row(feature.name, feature.operator + test, of.strip(), "; ".join(notes))
    console.print(features)
