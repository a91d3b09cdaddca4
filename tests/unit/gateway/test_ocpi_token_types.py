"""The type by which each version of OCPI knows a token, there and back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.emaid_contracts import rejection_of, token_of_contract
from gateway.ocpi.services import PLATFORM_ROLE
from gateway.ocpi.token_types import EMAID, stored_types, stored_uid, type_on_wire
from pnc.contract import Contract, ContractState, PaymentKind

STORED = ("RFID", "APP_USER", "AD_HOC_USER", "OTHER", EMAID)
NAMES = {
    OcpiVersion.V2_1_1: {"RFID", "OTHER"},
    OcpiVersion.V2_2_1: {"RFID", "APP_USER", "AD_HOC_USER", "OTHER"},
    OcpiVersion.V2_3_0: set(STORED),
}
NOW = datetime(2026, 10, 29, 8, tzinfo=UTC)
CONTRACT = Contract(
    contract_id=UUID(int=1),
    environment="sandbox",
    emaid="DE8AAC12345678",
    party="superapp",
    payment_kind=PaymentKind.PSP_MANDATE,
    payment_reference="cus_1/pm_good",
    state=ContractState.ACTIVE,
    payment_usable=True,
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
    limit_minor=None,
    currency=None,
)


@pytest.mark.parametrize("version", list(OcpiVersion))
def test_each_stored_type_has_a_name_in_every_version_by_which_it_is_found_again(
    version: OcpiVersion,
) -> None:
    assert {type_on_wire(stored, version=version) for stored in STORED} == NAMES[version]
    for stored in STORED:
        assert stored in stored_types(type_on_wire(stored, version=version), version=version)


def test_a_type_that_the_version_does_not_have_means_itself() -> None:
    assert stored_types(EMAID, version=OcpiVersion.V2_2_1) == (EMAID,)
    assert stored_types("RFID", version=OcpiVersion.V2_1_1) == ("RFID",)


@pytest.mark.parametrize("written", ["DE-8AA-C12345678-Q", "de8aac12345678", "DE8AAC12345678Q"])
def test_an_emaid_is_found_in_each_of_its_spellings(written: str) -> None:
    assert stored_uid(written, stored_type=EMAID).upper() == "DE8AAC12345678"
    assert stored_uid(written, stored_type="RFID") == written
    assert stored_uid("04A2", stored_type=EMAID) == "04A2"


@pytest.mark.parametrize(
    ("changes", "valid", "allowed"),
    [
        ({}, True, None),
        ({"state": ContractState.BLOCKED}, False, "BLOCKED"),
        ({"state": ContractState.CANCELLED}, False, "BLOCKED"),
        ({"payment_usable": False}, False, "NO_CREDIT"),
        ({"valid_until": NOW}, False, "EXPIRED"),
        ({"valid_from": NOW + timedelta(seconds=1)}, True, "NOT_ALLOWED"),
        ({"sessions_at_once": 1}, True, "NOT_ALLOWED"),
        ({"sessions_per_day": 3}, True, "NOT_ALLOWED"),
    ],
)
def test_a_contract_is_a_token_that_is_asked_about(
    changes: dict[str, object],
    valid: bool,  # noqa: FBT001 - a column of the table
    allowed: str | None,
) -> None:
    contract = replace(CONTRACT, **changes)
    token = token_of_contract(contract, role=PLATFORM_ROLE, now=NOW)
    assert (token.uid, token.contract_id, token.type) == (contract.emaid, contract.emaid, EMAID)
    assert (token.valid, token.whitelist) == (valid, "NEVER")
    rejected = rejection_of(contract, now=NOW)
    assert (None if rejected is None else rejected.allowed.value) == allowed
