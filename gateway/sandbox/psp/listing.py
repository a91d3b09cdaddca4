"""Lists: cursors, limits, the `created` filter. Newest first, as the provider does.

Must not know: any resource.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from gateway.sandbox.psp.call import Call
from gateway.sandbox.psp.forms import Params
from gateway.sandbox.psp.problems import Json, ParameterProblem, missing

PAGE_DEFAULT: Final = 10
PAGE_LIMIT: Final = 100
PAGING: Final = ("limit", "starting_after", "ending_before")


def list_of(data: list[Json], *, url: str, has_more: bool = False) -> Json:
    """The list object around `data`."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page(
    call: Call,
    kind: str,
    *,
    lookup: str | None = None,
    value: str | None = None,
    keep: Callable[[Json], bool] | None = None,
) -> Json:
    """One page of the account's objects of `kind`.

    `lookup` and `value` narrow by a stored lookup, `keep` by anything else. Raises ParameterProblem on a bad
    cursor.
    """
    params = call.params
    limit = params.integer("limit", least=1, most=PAGE_LIMIT) or PAGE_DEFAULT
    older_than, newer_than = params.text("starting_after"), params.text("ending_before")
    if older_than is not None and newer_than is not None:
        raise ParameterProblem("You cannot pass both starting_after and ending_before", param="ending_before")
    for name, cursor in (("starting_after", older_than), ("ending_before", newer_than)):
        if cursor is not None and call.world.records.find(cursor) is None:
            raise missing(kind, cursor, param=name, status=400)
    created = created_filter(params)
    found: Iterator[Json] = (
        body
        for body in call.world.records.scan(
            kind, call.account, field=lookup, value=value, before=older_than, after=newer_than,
            oldest_first=newer_than is not None,
        )
        if (lookup is None or value is None or body.get(lookup) == value)
        and created(body)
        and (keep is None or keep(body))
    )  # fmt: skip
    taken = list(islice(found, limit + 1))
    data = taken[:limit]
    if newer_than is not None:
        data.reverse()
    return list_of(data, url=call.path, has_more=len(taken) > limit)


def created_filter(params: Params) -> Callable[[Json], bool]:
    """The test that `created` asks for: an exact second, or gt, gte, lt, lte."""
    value = params.raw().get("created")
    if value is None or value == "":
        return _everything
    if isinstance(value, str):
        exact = params.integer("created", least=0)
        return lambda body: bool(body["created"] == exact)
    bounds = params.section("created").only("gt", "gte", "lt", "lte")
    above = max(bounds.integer("gte", least=0) or 0, (bounds.integer("gt", least=0) or -1) + 1)
    uppers = [
        value
        for value in (bounds.integer("lte", least=0), _less_one(bounds.integer("lt", least=0)))
        if value is not None
    ]
    below = min(uppers) if uppers else None
    return lambda body: body["created"] >= above and (below is None or body["created"] <= below)


def _less_one(value: int | None) -> int | None:
    return None if value is None else value - 1


def _everything(_: Json) -> bool:
    return True
