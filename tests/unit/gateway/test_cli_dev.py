"""What `networkcore dev` prints for a person: links into the console, and last a code that a phone reads."""

from io import StringIO

import pytest
from rich.console import Console

from gateway.cli.dev import show
from gateway.driver_page.qr_codes import draw_terminal
from sandbox.market.console_links import ConsoleLink
from sandbox.market.dev_market import DevMarket

MARKET = DevMarket(
    base_url="http://127.0.0.1:8100",
    psp_url="http://127.0.0.1:12111",
    psp_api_key="sk_test_sandbox",
    database_url="postgresql://postgres@127.0.0.1:5432/networkcore",
    admin_api_key="nck_admin",
    api_keys={"parkingapp": "nck_parking"},
    ocpi_tokens={},
    evses={"DE-RHN start-fee": "DE*RHN*E1*0001"},
    pids={},
    log_dir="logs",
    console_links=[
        ConsoleLink(party_id="platform", role="finance", name="Luca Rossi", url="http://127.0.0.1:8100/a/b"),
        ConsoleLink(party_id="DE-RHN", role="viewer", name="Tim Bakker", url="http://127.0.0.1:8100/c/d"),
    ],
)


@pytest.mark.parametrize("width", [40, 120])
def test_links_stay_on_one_line_and_the_code_of_the_driver_page_comes_last(width: int) -> None:
    out = StringIO()
    show(MARKET, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    for one in MARKET.console_links:
        assert f"{one.party_id:12}{one.role:16}{one.url}" in lines
    assert "Console      http://127.0.0.1:8100/console" in lines
    code = draw_terminal("http://127.0.0.1:8100/c/DE*RHN*E1*0001").splitlines()
    assert lines[-len(code) :] == code
    assert lines[-len(code) - 1] == "http://127.0.0.1:8100/c/DE*RHN*E1*0001"


def test_a_terminal_of_any_ground_shows_the_code_light_on_dark() -> None:
    out = StringIO()
    show(MARKET, Console(file=out, width=120, force_terminal=True, color_system="standard"))
    first = draw_terminal(MARKET.driver_page_url).splitlines()[0]
    assert f"\x1b[97;40m{first}" in out.getvalue()
