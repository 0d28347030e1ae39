"""`braid config`."""

import click

from pipeline.cli import options


@click.command("config")
@options.configuration
@options.as_json
def command(config: str, overlays: tuple[str, ...], assignments: tuple[str, ...], as_json: bool) -> None:
    """Print the merged configuration of CONFIG, each value with the file and line it comes from."""
    from pipeline import loading

    loaded = loading.load(config, overlays, assignments)
    if as_json:
        options.print_json(loaded.config.model_dump(by_alias=True))
        return
    for path, value in _leaves(loaded.config.model_dump(by_alias=True)):
        origin = loaded.settings.origins.get(path, "default")
        click.echo(f"{'.'.join(map(str, path))} = {value!r}  # {origin}")


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    return [(path, value)]
