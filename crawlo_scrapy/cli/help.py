"""`crawlo-scrapy help`."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("names", nargs=-1, metavar="[COMMAND]")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show help on COMMAND, or on all."""
    assert ctx.parent is not None
    found: click.Command = ctx.parent.command
    info = ctx.parent
    for name in names:
        if not isinstance(found, click.Group):
            raise click.UsageError(f"{found.name!r} has no commands of its own.")
        _, resolved, _ = found.resolve_command(info, [name])
        assert resolved is not None
        info = click.Context(resolved, info, info_name=name)
        found = resolved
    click.echo(found.get_help(info))
