"""The option `--locale`: a language that prices and receipts can be written in.

Owns which values are accepted. Must not know any text.
"""

from typing import Final

import click
from typing_extensions import override

from clearing.pricing.translations import LANGUAGES
from gateway.cli.command_group import suggestion


class Locale(click.ParamType[str]):
    """A language such as de, or a locale such as de-CH, of a language that we have."""

    name: Final = "locale"

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        language = value.replace("_", "-").lower().partition("-")[0]
        if language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            hint = suggestion(language, LANGUAGES)
            self.fail(f"{value!r} is not available; languages are {known}{hint}", param, ctx)
        return value


locale_option = click.option(
    "--locale",
    type=Locale(),
    default="en",
    show_default=True,
    metavar="LOCALE",
    help=f"Language of the lines: {', '.join(LANGUAGES)}, or one such as de-CH.",
)
