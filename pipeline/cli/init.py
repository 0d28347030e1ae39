"""`braid init`."""

import os

import click


@click.command("init")
@click.argument("table", required=False)
@click.option("--label", help="The column to predict.")
@click.option("--time", help="The date or timestamp column to split by; 'none' splits by a hash.")
@click.option("--name", help="The pipeline's name; the table's unless given.")
@click.option("--output", help="The file to write; NAME.yaml unless given.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def command(
    table: str | None, label: str | None, time: str | None, name: str | None, output: str | None, force: bool
) -> None:
    """Write a configuration for TABLE, a file or a folder in CSV, JSON Lines or Parquet. Asks for what is not given."""
    from beam_jobs import storage
    from pipeline import proposal
    from pipeline.errors import ConfigError

    table = table or click.prompt("Table (a file, a folder or a glob)")
    taken = proposal.sample(storage.resolve(table))
    columns = taken.rows.schema
    if label is None:
        click.echo("Columns: " + ", ".join(f"{field.name} {field.type}" for field in columns))
        label = click.prompt("Column to predict")
    proposal.check_label(taken.rows, label)
    times = [column for column in proposal.time_columns(taken.rows) if column != label]
    if time is None:
        time = times[0] if times else "none"
    if time != "none" and time not in times:
        raise ConfigError(
            f"'{time}' is no column to split by in time.",
            f"Such columns: {', '.join(times) or 'none'}; `--time none` splits by a hash.",
        )
    name = name or taken.source.name
    output = output or f"{name}.yaml"
    if os.path.exists(output) and not force:
        raise ConfigError(f"'{output}' exists.", "Name another with --output, or overwrite it with --force.")
    text = proposal.configuration(
        taken, name, label, None if time == "none" else time, os.path.dirname(os.path.abspath(output))
    )
    with open(output, "w", encoding="utf-8") as stream:
        stream.write(text)
    click.echo(
        f"Wrote {output}: predicts '{label}', splits by {'a hash' if time == 'none' else time}.\nNext: braid run {output}"
    )
