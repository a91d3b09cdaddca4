"""Lists: cursors, limits, the `created` filter. Newest first, as the provider does.

Must not know: any resource.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.forms import Params
from sandbox.stripe.problems import Json, ParameterProblem, missing
from sandbox.stripe.records import ANY_TIME

PAGE_DEFAULT: Final = 10
PAGE_LIMIT: Final = 100
PAGING: Final = ("limit", "starting_after", "ending_before")


def list_of(data: list[Json], *, url: str, has_more: bool = False) -> Json:
    """The list object around `data`."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page(
    call: PspApiRequest,
    kind: str,
    *,
    lookup: str | None = None,
    value: str | Sequence[str] | None = None,
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
        if cursor is not None and call.state.records.find(cursor) is None:
            raise missing(kind, cursor, param=name, status=400)
    chosen = () if value is None else (value,) if isinstance(value, str) else tuple(value)
    found: Iterator[Json] = (
        body
        for body in call.state.records.scan(
            kind,
            call.account,
            field=lookup,
            values=chosen,
            before=older_than,
            after=newer_than,
            created=created_range(params),
            oldest_first=newer_than is not None,
        )
        if (lookup is None or not chosen or body.get(lookup) in chosen) and (keep is None or keep(body))
    )
    taken = list(islice(found, limit + 1))
    data = taken[:limit]
    if newer_than is not None:
        data.reverse()
    return list_of(data, url=call.path, has_more=len(taken) > limit)


def created_range(params: Params) -> tuple[int, int]:
    """The inclusive range of seconds that `created` selects: an exact one, or gt, gte, lt, lte."""
    earliest, latest = ANY_TIME
    value = params.raw().get("created")
    if value is None or value == "":
        return earliest, latest
    if isinstance(value, str):
        exact = params.required_integer("created", least=0)
        return exact, exact
    bounds = params.section("created").only("gt", "gte", "lt", "lte")
    for name, beyond in (("gte", 0), ("gt", 1)):
        bound = bounds.integer(name, least=0)
        earliest = earliest if bound is None else max(earliest, bound + beyond)
    for name, beyond in (("lte", 0), ("lt", 1)):
        bound = bounds.integer(name, least=0)
        latest = latest if bound is None else min(latest, bound - beyond)
    return earliest, latest
