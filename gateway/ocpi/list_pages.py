"""Pages of a peer's list: which link leads on, and when a list has been read whole.

Owns: the reading of Link headers and of the counts beside them. Must not know: HTTP calls, tables, or what a
list holds. Pure. Sources: RFC 8288 section 3 and appendix B (Link), OCPI transport_and_format, Pagination.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

_WHITE: Final = " \t"
_MAX_COUNT_DIGITS: Final = 12
_MAX_PARAMETERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page as a peer gave it.

    `next_url` is where the list goes on, None after its last page; `foreign_link` is a next link that leads
    to another host, which is not followed. `total` and `limit` are X-Total-Count and X-Limit, None where the
    peer sends none.
    """

    objects: Sequence[Any]
    next_url: str | None = None
    foreign_link: str | None = None
    total: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProgress:
    """How far a list has been read: `seen` objects of `total` (None: the peer has named no total)."""

    seen: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextPage:
    """The list goes on at `url`."""

    url: str
    progress: ListProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class ListComplete:
    """Every object of the list has been read."""

    progress: ListProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class ListShort:
    """The list ends before its end, or goes on where it may not: nothing may be taken for read."""

    progress: ListProgress
    reason: str


def read_list_page(headers: Sequence[tuple[str, str]], objects: Sequence[Any], *, url: str) -> ListPage:
    """Return a page with what its headers say, repeated ones included; `url` is the page's own."""
    target = next_link([value for name, value in headers if name.lower() == "link"], page=url)
    counts = {name.lower(): _count(value) for name, value in headers}
    following, foreign = (None, None) if target is None else _same_place(target, page=url)
    return ListPage(
        objects=objects,
        next_url=following,
        foreign_link=foreign,
        total=counts.get("x-total-count"),
        limit=counts.get("x-limit"),
    )


def after_page(before: ListProgress, page: ListPage, *, url: str) -> NextPage | ListComplete | ListShort:
    """Say where the list goes on after `page`, which was read at `url`.

    A total that has fallen means that an object has left the list while it was read and the rest has moved
    up: the page is read again, as many objects earlier as are gone (OCPI transport, Pagination, note).
    """
    gone = 0 if before.total is None or page.total is None else before.total - page.total
    if gone > 0 and before.seen > 0:
        seen = max(0, before.seen - gone)
        again = _earlier(url, by=gone)
        progress = ListProgress(seen=seen, total=page.total)
        if again is None:
            return ListShort(progress=progress, reason=f"{gone} objects have left the list while it was read")
        return NextPage(url=again, progress=progress)
    total = before.total if page.total is None else page.total
    progress = ListProgress(seen=before.seen + len(page.objects), total=total)
    if page.foreign_link is not None:
        return ListShort(
            progress=progress, reason=f"the next page is at another address ({_origin(page.foreign_link)})"
        )
    if page.next_url is not None:
        if page.next_url == url or not page.objects:
            return ListShort(progress=progress, reason="the link to the next page leads no further")
        return NextPage(url=page.next_url, progress=progress)
    if total is not None:
        if progress.seen < total:
            return ListShort(progress=progress, reason=f"it ends after {progress.seen} of {total} objects")
    elif page.limit is not None and 0 < page.limit <= len(page.objects):
        return ListShort(progress=progress, reason="its last page is full, and no total is named")
    return ListComplete(progress=progress)


def next_link(values: Sequence[str], *, page: str) -> str | None:
    """Return the absolute target of the first link whose relation types hold `next`, None without one."""
    for value in values:
        for target, parameters in _links(value):
            if "next" in parameters.get("rel", "").lower().split():
                return urljoin(page, target)
    return None


def _links(value: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Read the links of one header value; what is no link ends it (RFC 8288, appendix B.2)."""
    at = 0
    while True:
        at = _skip(value, at, _WHITE + ",")
        end = value.find(">", at)
        if value[at : at + 1] != "<" or end < 0:
            return
        target, at = value[at + 1 : end].strip(), end + 1
        parameters: dict[str, str] = {}
        for _ in range(_MAX_PARAMETERS):
            at = _skip(value, at, _WHITE)
            if value[at : at + 1] != ";":
                break
            name, found, at = _parameter(value, at + 1)
            if name:
                parameters.setdefault(name, found)  # of several `rel` only the first counts
        yield target, parameters


def _parameter(value: str, at: int) -> tuple[str, str, int]:
    """Read one parameter: its name in lower case, its value without quotes, and where it ends."""
    at = start = _skip(value, at, _WHITE)
    while at < len(value) and value[at] not in "=;, \t":
        at += 1
    name = value[start:at].lower()
    at = _skip(value, at, _WHITE)
    if value[at : at + 1] != "=":
        return name, "", at
    at = _skip(value, at + 1, _WHITE)
    if value[at : at + 1] == '"':
        text, at = _quoted(value, at + 1)
        return name, text, at
    start = at
    while at < len(value) and value[at] not in ";,":
        at += 1
    return name, value[start:at].strip(_WHITE + "'"), at


def _quoted(value: str, at: int) -> tuple[str, int]:
    text = []
    while at < len(value) and value[at] != '"':
        if value[at] == "\\" and at + 1 < len(value):
            at += 1
        text.append(value[at])
        at += 1
    return "".join(text), at + 1


def _skip(value: str, at: int, characters: str) -> int:
    while at < len(value) and value[at] in characters:
        at += 1
    return at


def _same_place(target: str, *, page: str) -> tuple[str | None, str | None]:
    """The target as it may be called, or as foreign.

    A proxy in front of the peer may make its https address into http: the same host is called by https.
    """
    here, there = urlsplit(page), urlsplit(target)
    try:
        same_host = (there.hostname or "") == (here.hostname or "")
        same_port = there.port == here.port
    except ValueError:
        return None, target
    if same_host and (here.scheme, there.scheme) == ("https", "http") and there.port in {None, 80, here.port}:
        return urlunsplit(there._replace(scheme="https", netloc=here.netloc)), None
    if same_host and same_port and there.scheme == here.scheme:
        return target, None
    return None, target


def _earlier(url: str, *, by: int) -> str | None:
    """The page `by` objects earlier; None where the URL has no offset to change."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    offset = next((_count(value) for name, value in query if name == "offset"), None)
    if offset is None:
        return None
    moved = [(name, str(max(0, offset - by)) if name == "offset" else value) for name, value in query]
    return urlunsplit(parts._replace(query=urlencode(moved)))


def _count(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_COUNT_DIGITS else None


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, for a person: one of them differs."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}"[:100]
    except ValueError:
        return "no URL"
