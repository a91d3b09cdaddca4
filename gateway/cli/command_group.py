"""Groups of commands: alone they print their help in full, and a mistyped command gets a near suggestion.

Owns how a group lists its commands. Must not know any command.
"""

import difflib
from collections.abc import Iterable
from typing import Final

import click
from typing_extensions import override

# How much of a name must agree before another is suggested: `exceptoins` is `exceptions`, `pay` is nothing.
_LIKENESS: Final = 0.75
_WHOLE: Final = 10_000


class CommandGroup(click.Group):
    """A group that shows its whole help when it is called without a command."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError:
            hint = suggestion(args[0], self.list_commands(ctx))
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx) from None

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(_WHOLE)) for name, one in found if one is not None]
            )


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` where a known name is near enough to be meant, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=_LIKENESS)
    return f"; did you mean {near[0]}?" if near else ""
