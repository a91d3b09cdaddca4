"""Lists of peers, page by page: links in all their spellings, and when a list has been read whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ocpi.list_pages import (
    ListComplete,
    ListPage,
    ListProgress,
    ListShort,
    NextPage,
    after_page,
    next_link,
    read_list_page,
)

PAGE = "https://cpo.example/ocpi/cdrs?offset=0&limit=2"
NEXT = "https://cpo.example/ocpi/cdrs?offset=2&limit=2"


def page(objects: int, **changes: Any) -> ListPage:
    return ListPage(objects=[{}] * objects, **changes)


@pytest.mark.parametrize(
    "value",
    [
        f'<{NEXT}>; rel="next"',
        f"<{NEXT}>; rel=next",
        f"<{NEXT}>;rel=NEXT",
        f'<{NEXT}> ; REL = "Next"',
        f"<{NEXT}>; rel='next'",
        f'<{NEXT}>; rel="last next"',
        f'<{NEXT}>; title="a, b; c"; rel="next"',
        f'<{NEXT}>; title="say \\"hi\\""; rel="next"',
        f'<https://cpo.example/first>; rel="first", <{NEXT}>; rel="next"',
        f'<https://cpo.example/a,b;c>; rel="prev" , <{NEXT}>; rel="next"',
        f', <{NEXT}>; rel="next",',
        '</ocpi/cdrs?offset=2&limit=2>; rel="next"',
        '<?offset=2&limit=2>; rel="next"',
    ],
)
def test_the_next_page_is_found_in_every_spelling_of_a_link(value: str) -> None:
    assert next_link([value], page=PAGE) == NEXT


@pytest.mark.parametrize(
    "value",
    [
        "",
        NEXT,
        f"<{NEXT}>",
        f'<{NEXT}>; rel="prev"',
        f'<{NEXT}>; rel="prev"; rel="next"',
        f'<{NEXT}>; title="rel=next"',
        f'<{NEXT}>; rel="nextpage"',
        f'<{NEXT}; rel="next"',
    ],
)
def test_what_is_no_link_to_a_next_page_is_none(value: str) -> None:
    assert next_link([value], page=PAGE) is None


def test_links_in_several_headers_all_count() -> None:
    headers = [("Link", '<https://cpo.example/x>; rel="self"'), ("link", f"<{NEXT}>; rel=next")]
    assert read_list_page(headers, [], url=PAGE).next_url == NEXT


@given(st.text(max_size=200))
def test_no_header_breaks_the_reader(value: str) -> None:
    read_list_page([("Link", value), ("X-Total-Count", value), ("X-Limit", value)], [], url=PAGE)


@pytest.mark.parametrize(
    ("target", "followed"),
    [
        ("http://cpo.example/ocpi/cdrs?offset=2", "https://cpo.example/ocpi/cdrs?offset=2"),
        ("http://cpo.example:80/ocpi/cdrs?offset=2", "https://cpo.example/ocpi/cdrs?offset=2"),
        ("https://CPO.example/ocpi/cdrs?offset=2", "https://CPO.example/ocpi/cdrs?offset=2"),
        ("https://other.example/ocpi/cdrs?offset=2", None),
        ("https://cpo.example:8443/ocpi/cdrs?offset=2", None),
        ("http://cpo.example:8080/ocpi/cdrs?offset=2", None),
        ("ftp://cpo.example/ocpi/cdrs?offset=2", None),
        ("https://cpo.example:99999999/x", None),
    ],
)
def test_a_link_is_followed_on_the_same_host_only(target: str, followed: str | None) -> None:
    read = read_list_page([("Link", f"<{target}>; rel=next")], [{}], url=PAGE)
    assert read.next_url == followed
    assert read.foreign_link == (target if followed is None else None)


def test_a_page_in_clear_text_is_not_followed_to_another_scheme() -> None:
    read = read_list_page(
        [("Link", "<https://cpo.example/x>; rel=next")], [{}], url="http://cpo.example/ocpi/cdrs"
    )
    assert read.next_url is None


def test_a_list_is_complete_when_the_named_number_has_been_read() -> None:
    first = after_page(ListProgress(), page(2, next_url=NEXT, total=3, limit=2), url=PAGE)
    assert first == NextPage(url=NEXT, progress=ListProgress(seen=2, total=3))
    last = after_page(first.progress, page(1, total=3, limit=2), url=NEXT)
    assert last == ListComplete(progress=ListProgress(seen=3, total=3))


def test_a_list_that_ends_before_the_named_number_is_short() -> None:
    step = after_page(ListProgress(), page(100, total=250, limit=100), url=PAGE)
    assert isinstance(step, ListShort)
    assert step.reason == "it ends after 100 of 250 objects"


def test_without_a_total_a_full_last_page_is_no_end() -> None:
    assert isinstance(after_page(ListProgress(), page(100, limit=100), url=PAGE), ListShort)
    assert isinstance(after_page(ListProgress(), page(99, limit=100), url=PAGE), ListComplete)
    assert isinstance(after_page(ListProgress(), page(0, limit=100), url=PAGE), ListComplete)
    assert isinstance(after_page(ListProgress(), page(100), url=PAGE), ListComplete)


def test_a_page_at_another_host_ends_the_run_with_what_was_read() -> None:
    step = after_page(ListProgress(), page(2, foreign_link="https://other.example/x", total=4), url=PAGE)
    assert isinstance(step, ListShort)
    assert step.progress.seen == 2
    assert "other.example" in step.reason


@pytest.mark.parametrize("odd", [page(2, next_url=PAGE, total=9), page(0, next_url=NEXT, total=9)])
def test_a_link_that_leads_no_further_ends_the_run(odd: ListPage) -> None:
    assert isinstance(after_page(ListProgress(seen=2, total=9), odd, url=PAGE), ListShort)


def test_a_total_that_falls_has_the_page_read_again_earlier() -> None:
    """OCPI transport: an object that left the list has moved the others up, one would be missed."""
    before = ListProgress(seen=4, total=9)
    step = after_page(
        before, page(2, next_url=NEXT, total=8), url="https://cpo.example/ocpi/cdrs?offset=4&limit=2"
    )
    assert step == NextPage(
        url="https://cpo.example/ocpi/cdrs?offset=3&limit=2", progress=ListProgress(seen=3, total=8)
    )
    no_offset = "https://cpo.example/ocpi/cdrs?after=x"
    cursor = after_page(before, page(2, next_url=NEXT, total=8), url=no_offset)
    assert isinstance(cursor, ListShort), "a cursor can't be moved back: the list is read from its start"


def test_a_total_that_grows_is_the_new_goal() -> None:
    step = after_page(ListProgress(seen=2, total=3), page(1, total=4, limit=2), url=NEXT)
    assert isinstance(step, ListShort)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    drop=st.integers(0, 3),
)
def test_a_list_is_never_called_complete_while_objects_are_missing(sizes: list[int], drop: int) -> None:
    total = sum(sizes) + drop
    progress, url = ListProgress(), PAGE
    for number, size in enumerate(sizes):
        last = number == len(sizes) - 1
        following = None if last else f"https://cpo.example/ocpi/cdrs?offset={progress.seen + size}"
        step = after_page(progress, page(size, next_url=following, total=total, limit=5), url=url)
        progress = step.progress
        if isinstance(step, NextPage):
            url = step.url
    assert isinstance(step, ListShort if drop else ListComplete)
