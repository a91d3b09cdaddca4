"""What `networkcore dev` gives people: links into the console by role, and accounts to sign in with."""

import re
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),  # one stack for the modules that use it
]
WHO = re.compile(r'<strong>([^<]+)</strong><span class="dim">([^<]+) · ([^<]+)</span>')


class Browser:
    """A browser without script: it keeps cookies and follows redirects."""

    def __init__(self) -> None:
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def open(self, address: str, *, form: bytes | None = None) -> tuple[str, str]:
        """The address at which it arrives, and the page."""
        with self.opener.open(address, data=form, timeout=30) as response:
            return response.url, response.read().decode()


def who(page: str) -> tuple[str, str, str]:
    found = WHO.search(page)
    assert found, page[:2000]
    name, party, role = found.groups()
    return name, party, role.lower()


def test_each_link_signs_in_one_person_of_each_role_once(dev: dict[str, Any]) -> None:
    links = dev["console_links"]
    assert {one["role"] for one in links if one["party"] == "platform"} == {
        "administrator",
        "finance",
        "support",
        "viewer",
    }
    assert {one["role"] for one in links if one["party"] != "platform"} == {"developer", "administrator"}
    for one in links:
        browser = Browser()
        _, page = browser.open(one["url"])
        assert 'method="post"' in page, "opening the link uses nothing"
        arrived, page = browser.open(one["url"], form=b"")
        assert arrived == dev["console_url"]
        assert who(page) == (one["name"], one["party"], one["role"])
    with pytest.raises(HTTPError, match="403"):
        Browser().open(links[0]["url"], form=b"")


@pytest.mark.parametrize("number", [0, 3, 4, 5])  # of the platform, of a partner, of an operator
def test_an_account_of_the_provider_signs_in_its_person(dev: dict[str, Any], number: int) -> None:
    one = dev["console_links"][number]
    browser = Browser()
    asked, choice = browser.open(f"{dev['console_url']}/sign-in/openid")
    assert urlsplit(asked).netloc != urlsplit(dev["base_url"]).netloc, "the provider is another server"
    accounts = re.findall(r'<a href="([^"]+)">([^<]+)</a>', choice)
    (chosen,) = (link for link, text in accounts if text == f"{one['name']}, {one['role']} of {one['party']}")
    arrived, page = browser.open(urljoin(asked, chosen.replace("&amp;", "&")))
    assert arrived == dev["console_url"]
    assert who(page) == (one["name"], one["party"], one["role"])


def test_whoever_chooses_no_account_is_not_signed_in(dev: dict[str, Any]) -> None:
    browser = Browser()
    asked, choice = browser.open(f"{dev['console_url']}/sign-in/openid")
    found = re.search(r'<a href="([^"]+)">None of them</a>', choice)
    assert found
    with pytest.raises(HTTPError, match="403"):
        browser.open(urljoin(asked, found.group(1).replace("&amp;", "&")))
    arrived, _ = browser.open(dev["console_url"])
    assert arrived.startswith(f"{dev['console_url']}/sign-in")


def test_the_driver_page_of_dev_is_the_page_of_a_charger_with_its_price(dev: dict[str, Any]) -> None:
    assert dev["driver_page_url"].startswith(f"{dev['base_url']}/c/")
    _, page = Browser().open(dev["driver_page_url"])
    assert urlsplit(dev["driver_page_url"]).path.removeprefix("/c/") in page
    assert "kWh" in page
