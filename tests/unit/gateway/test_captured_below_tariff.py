"""Why less than the tariff's price was captured reaches clearing with the session."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gateway.jobs.clearing_repository import captured_session
from gateway.stored_tariffs import StoredTariff

AT = datetime(2026, 10, 29, 9, 0, tzinfo=UTC)
TARIFF = StoredTariff(sha256="0" * 64, canonical=b"{}", version="2.2.1", currency="EUR")
ROW: dict[str, Any] = {
    "shard": 0,
    "id": UUID(int=0),
    "cpo_id": "NL-ABC",
    "demand_partner_id": "app",
    "site_host_id": None,
    "emsp_id": None,
    "authorization_method": "card",
    "funding": "psp",
    "account_party_id": None,
    "tax_jurisdiction": "NL",
    "time_zone": "Europe/Amsterdam",
    "ended_at": AT,
    "captured_at": AT,
    "amount_minor": 900,
    "price_minor": 900,
    "receivable_minor": 0,
    "buyer_id": None,
    "uncleared_minor": 0,
    "flags": [],
    "currency": "EUR",
    "tariff_sha256": "0" * 64,
    "cdr_id": "C1",
    "cdr": b"{}",
    "cdr_version": "2.2.1",
    "psp_charge": "ch_1",
    "fee_minor": None,
    "fee_currency": None,
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"flags": ["cpo_total_lower"]}, None),
        ({"flags": ["cpo_total_lower", "captured_below_tariff"]}, "captured_below_tariff"),
        ({"flags": ["captured_below_tariff"], "receivable_minor": 100}, "hold_below_price"),
    ],
)
def test_a_price_below_the_tariffs_is_named_to_clearing(changes: dict[str, Any], reason: str | None) -> None:
    assert captured_session(ROW | changes, TARIFF).shortfall == reason
