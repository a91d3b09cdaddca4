"""The driver page of a whole stack: paid by the sandbox's form, ended, cleared, with a receipt."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from html import unescape
from typing import Any

import pytest

from sandbox.stripe.test_numbers import TEST_NUMBERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),
]
PATIENCE_S = 90


def ask(
    address: str, *, form: dict[str, str] | None = None, key: str | None = None, body: Any = None
) -> tuple[str, bytes]:
    """The address that answered, after redirects, and what it answered."""
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if body is not None:
        data = json.dumps(body).encode()
        headers |= {"Content-Type": "application/json", "Idempotency-Key": "driver-page-1"}
    request = urllib.request.Request(address, data=data, headers=headers)  # noqa: S310 - as dev printed it
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - likewise
        return answer.url, answer.read()


def test_a_driver_pays_at_a_charger_and_has_a_receipt(dev: dict[str, Any]) -> None:
    page_url = dev["driver_page_url"]
    page = ask(page_url)[1].decode()
    assert "per kWh" in page
    fields = {
        name: unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    }
    card = {"type": "card", "card[token]": "tok_visa"}
    method = json.loads(
        ask(f"{dev['sandbox_psp_url']}/v1/payment_methods", form=card, key="pk_test_sandbox")[1]
    )
    address, paid = ask(f"{page_url}/pay", form=fields | {"payment_method": method["id"]})
    assert "plug in now" in paid.decode()
    address = address.partition("?")[0]
    base = dev["base_url"]
    sessions = json.loads(ask(f"{base}/v1/sessions?limit=1", key=dev["api_keys"]["parkingapp"])[1])
    session = sessions["data"][0]
    assert session["metadata"] == {"channel": "driver_page"}
    usage = {
        "started_at": "2026-10-29T08:05:00Z",
        "ended_at": "2026-10-29T08:50:00Z",
        "energy_wh": 18_500,
    }
    ask(f"{base}/v1/sessions/{session['id']}/complete", key=dev["admin_api_key"], body={"usage": usage})
    ends = time.monotonic() + PATIENCE_S
    while "receipt.pdf" not in (shown := ask(f"{address}?lang=de")[1].decode()):
        assert time.monotonic() < ends, shown
        time.sleep(1)
    assert "18,5 kWh" in shown
    assert "9,18 EUR" in shown  # 18.5 kWh at 0.4641 and 0.595 for the session
    found = re.search(r'href="([^"]*receipt\.pdf[^"]*)"', shown)
    assert found
    assert ask(base + unescape(found[1]))[1].startswith(b"%PDF-")


def test_a_code_that_is_wrong_is_a_page_that_says_so(dev: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{dev['base_url']}/c/XX*NO*E1")
    with refused.value as answer:
        assert answer.code == 404
        assert b"not known here" in answer.read()


def test_a_driver_pays_on_the_psps_page_without_any_script(dev: dict[str, Any]) -> None:
    page = ask(dev["driver_page_url"])[1].decode()
    plain = page.partition('id="pay-there"')[2]
    fields = {
        name: unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', plain)
    }
    address, hosted = ask(f"{dev['driver_page_url']}/hosted-page", form=fields)
    assert address.startswith(f"{dev['sandbox_psp_url']}/c/pay/cs_test_"), address
    assert "held on your card" in hosted.decode()
    number = "".join(TEST_NUMBERS[0].groups)
    back, paid = ask(address, form={"number": number, "expiry": "12/34", "cvc": "123"})
    assert back == f"{dev['base_url']}/charge/{fields['token']}"
    assert "plug in now" in paid.decode()
