"""Ids as arguments of commands: the public text, such as `rdc_01jd...`, or the bare UUID.

Owns: reading them. Must not know which objects exist.
"""

from typing import Any
from uuid import UUID

import click
from typing_extensions import override

from gateway.errors import MalformedIdError
from gateway.ids import parse_id


class PublicId(click.ParamType[UUID]):
    """An id with this prefix, or a UUID; the command gets the UUID."""

    name = "id"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        if isinstance(value, UUID):
            return value
        try:
            return parse_id(self.prefix, str(value))
        except MalformedIdError as error:
            self.fail(str(error), param, ctx)
