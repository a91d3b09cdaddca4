"""A list as a CSV file that is sent while it is read, a page of the API at a time.

Owns: the form of a cell, how an operation's pages become rows, what a reader sees of a file that breaks off.
Must not know any list. UTF-8 with a byte order mark, RFC 4180; amounts are in minor units, times as the API
writes them, in ISO 8601 with their zone.
"""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, TypeVar

import structlog
from aiohttp import web

from gateway.api.endpoint import ApiResponse
from gateway.console.page import ConsolePage
from gateway.console.rendering import PAGE_HEADERS

_log = structlog.get_logger(__name__)
_MOST_OF_A_PAGE: Final = "100"
# A spreadsheet runs a cell that begins so: such a text is written with an apostrophe before it.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_FORMAT: Final = "csv"
_NOT_SNIFFED: Final = {"X-Content-Type-Options": "nosniff"}
_PIECE: Final = 65_536  # bytes
_Item = TypeVar("_Item")
_NO_QUERY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvList:
    """A list as a file: its columns, each `name` or `name=member.of.the.object`.

    `operation` is the API's list, `place` the members of its answer that lead to the rows. `limit` is the
    most of a page; "" for a list that takes none.
    """

    name: str
    operation: str
    columns: Sequence[str]
    place: Sequence[str] = ("data",)
    limit: str = _MOST_OF_A_PAGE
    path: Mapping[str, str] = field(default_factory=dict)

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return [column.partition("=")[0] for column in self.columns]

    def row(self, one: Mapping[str, Any]) -> list[Any]:
        """An object of the list as cells."""
        return [_member(one, column.partition("=")[2] or column) for column in self.columns]


def wanted(page: ConsolePage) -> str | None:
    """Which list of the page is asked for as a file; "" for its first one, None for the page itself."""
    return page.request.query.get("list", "") if page.request.query.get("format") == _FORMAT else None


async def answer_list(
    page: ConsolePage, one: CsvList, *, query: Mapping[str, str] = _NO_QUERY
) -> web.StreamResponse:
    """A list of the API, whole, with the filters of its page."""
    return await send(page, one.name, one.header, _rows(page, one, query))


async def answer_rows(
    page: ConsolePage, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> web.StreamResponse:
    """Rows that are there already."""

    async def pages() -> AsyncIterator[list[Sequence[Any]]]:
        yield list(rows)

    return await send(page, name, columns, pages())


async def answer_pages(
    page: ConsolePage,
    name: str,
    columns: Sequence[str],
    read: Callable[[_Item | None], Awaitable[Sequence[_Item]]],
    rows_of: Callable[[_Item], Sequence[Sequence[Any]]],
) -> web.StreamResponse:
    """A list whole, whose pages `read` gives: the first for None, then what comes after the last item."""

    async def pages() -> AsyncIterator[list[Sequence[Any]]]:
        last = None
        while found := await read(last):
            yield [row for one in found for row in rows_of(one)]
            last = found[-1]

    return await send(page, name, columns, pages())


async def send(
    page: ConsolePage, name: str, columns: Sequence[str], pages: AsyncIterator[Sequence[Sequence[Any]]]
) -> web.StreamResponse:
    """Send the file. What fails before its first row is an error page; later the file breaks off."""
    first: Sequence[Sequence[Any]] = ()
    async for first in pages:  # noqa: B007 - the first alone; the others are sent below
        break
    page.turn.give_back()  # others make their pages while this file goes out
    async with page.file_turns.turn():
        return await _sent(page, name, [columns, *first], pages)


async def send_stream(page: ConsolePage, answer: ApiResponse) -> web.StreamResponse:
    """Send a file that an operation answers with, as it is, a piece at a time."""
    if answer.stream is None:
        raise TypeError("the operation answers with no file")
    with answer.stream as stream:
        page.turn.give_back()  # others make their pages while this file goes out
        async with page.file_turns.turn():
            response = web.StreamResponse(headers={**PAGE_HEADERS, **answer.headers, **_NOT_SNIFFED})
            await response.prepare(page.request)
            try:
                while piece := await asyncio.to_thread(stream.read, _PIECE):
                    await response.write(piece)
            except ConnectionError:
                return response  # nobody reads on
            await response.write_eof()
            return response


async def _sent(
    page: ConsolePage,
    name: str,
    begin: Sequence[Sequence[Any]],
    pages: AsyncIterator[Sequence[Sequence[Any]]],
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            **PAGE_HEADERS,
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            **_NOT_SNIFFED,
        }
    )
    response.enable_chunked_encoding()
    await response.prepare(page.request)
    try:
        await response.write(f"\ufeff{_lines(begin)}".encode())
        async for rows in pages:
            await response.write(_lines(rows).encode())
    except ConnectionError:
        return response  # nobody reads on
    except Exception as error:  # noqa: BLE001 - the answer has begun: its reader must see that it is not whole
        _log.error("csv_broke_off", list=name, exc_info=error)
        if page.request.transport is not None:
            page.request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _rows(
    page: ConsolePage, one: CsvList, query: Mapping[str, str]
) -> AsyncIterator[Sequence[Sequence[Any]]]:
    limit = {"limit": one.limit} if one.limit else {}
    cursor: dict[str, str] = {}
    while True:
        found = await page.calls.read(one.operation, query={**query, **limit, **cursor}, **one.path)
        rows: Any = found
        for name in one.place:
            rows = rows[name]
        yield [one.row(row) for row in rows]
        if not found.get("has_more") or not found.get("next_cursor"):
            return
        cursor = {"cursor": found["next_cursor"]}


def cell(value: Any) -> str:
    """One value as a cell; a text that a spreadsheet would run is made harmless."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case list() | tuple():
            return cell(" ".join(str(part) for part in value))
        case dict():
            return cell(json.dumps(value, ensure_ascii=False, sort_keys=True) if value else "")
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case _:
            return str(value)


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([cell(value) for value in row] for row in rows)
    return written.getvalue()


def _member(one: Mapping[str, Any], place: str) -> Any:
    found: Any = one
    for name in place.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
