"""`make sdk`: the packages for partners' developers, written into `build/sdk`.

Owns: the command. Must not know: how each package is made.
"""

from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from sdk import python_package, request_collection, typescript_package
from sdk.sources import ROOT, SdkError

_MAKERS: dict[str, Callable[[Path], Path]] = {
    "python": python_package.write_package,
    "typescript": typescript_package.write_package,
    "collection": lambda folder: request_collection.write_collection(
        folder / "networkcore.postman_collection.json"
    ),
}


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(tuple(_MAKERS)))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "build/sdk",
    show_default=True,
)
def main(kinds: tuple[str, ...], output: Path) -> None:
    """Make the packages: KINDS, or all of them."""
    console = Console()
    failed = []
    for kind in kinds or tuple(_MAKERS):
        try:
            with console.status(f"making {kind}"):
                made = _MAKERS[kind](output / kind)
        except SdkError as error:
            failed.append(kind)
            console.print(f"{kind}: [red]not made[/]: {error}", highlight=False, soft_wrap=True)
        else:
            console.print(f"{kind}: {made}", highlight=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
