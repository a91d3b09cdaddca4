"""Documents named on the command line: reading them, and naming the file in which an error is.

Owns the bound on a file's size and the one-line form of its errors. Must not know what the documents mean.
"""

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from clearing.errors import ClearingError, MalformedDocumentError
from clearing.pricing.json_document import MAX_DOCUMENT_BYTES


def read_document(name: str) -> bytes:
    """The bytes of a file, or of standard input for "-".

    Raises:
        ClickException: the file can't be read, or is larger than any document.
    """
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from None
    if len(content) > MAX_DOCUMENT_BYTES:
        raise click.ClickException(
            f"{name}: is larger than {MAX_DOCUMENT_BYTES} bytes, the most that is read"
        )
    return content.removeprefix(codecs.BOM_UTF8)  # some editors begin a file with it; JSON has none


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Name the file in the one line of every error of its content."""
    try:
        yield
    except MalformedDocumentError as error:
        raise click.ClickException(
            f"{name}: {error.path}: {error.problem} (in the {error.document})"
        ) from None
    except ClearingError as error:
        raise click.ClickException(f"{name}: {error}") from None
