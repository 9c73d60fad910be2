"""`crawlo-scrapy completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_EPILOG = """\b
Examples:
  crawlo-scrapy completion bash >> ~/.bashrc
  crawlo-scrapy completion zsh >> ~/.zshrc
  crawlo-scrapy completion fish > ~/.config/fish/completions/crawlo-scrapy.fish
"""


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in your shell."""
    found = get_completion_class(shell)
    assert found is not None and ctx.parent is not None
    made = found(ctx.parent.command, {}, "crawlo-scrapy", "_CRAWLO_SCRAPY_COMPLETE")
    click.echo(made.source())
