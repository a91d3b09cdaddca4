"""What is taken for a card number, and what is not."""

import hashlib
import random
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.card_numbers import MASK, find_card_number, holds_card_number, mask_card_numbers
from gateway.ids import format_id, new_id


def with_check_digit(digits: str) -> str:
    """The digits with the check digit that the Luhn formula gives them (ISO/IEC 7812-1, annex B)."""
    total = sum(sum(divmod(int(one) * (2 - place % 2), 10)) for place, one in enumerate(reversed(digits)))
    return f"{digits}{-total % 10}"


# Built here, so that no card number is written in the repository.
VISA = with_check_digit("424242424242424")
MASTERCARD = with_check_digit("555555555555444")
AMERICAN_EXPRESS = with_check_digit("37828224631000")
DINERS = with_check_digit("3056930902590")
UNIONPAY_19 = with_check_digit("620550000000000000")
VISA_13 = with_check_digit("422222222222")
CARDS = (VISA, MASTERCARD, AMERICAN_EXPRESS, DINERS, UNIONPAY_19, VISA_13)


def grouped(digits: str, separator: str) -> str:
    return separator.join(digits[at : at + 4] for at in range(0, len(digits), 4))


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    "frame", ["{}", "card {} exp 12/34", "pan={};cvc=123", "pm_{}", "no. {}.", "({})", "\t{}\n"]
)
def test_a_card_number_is_found_wherever_it_stands(card: str, frame: str) -> None:
    assert holds_card_number(frame.format(card))
    assert card not in mask_card_numbers(frame.format(card))
    assert MASK in mask_card_numbers(frame.format(card))


@pytest.mark.parametrize("separator", [" ", "-", ".", "  ", "\u00a0", "\u2011", " - ", "_"])
def test_groups_and_their_separators_hide_nothing(separator: str) -> None:
    for card in (VISA, MASTERCARD, UNIONPAY_19):
        assert holds_card_number(grouped(card, separator))
        assert holds_card_number(f"{grouped(card, separator)}{separator}12{separator}34")
    american = separator.join((AMERICAN_EXPRESS[:4], AMERICAN_EXPRESS[4:10], AMERICAN_EXPRESS[10:]))
    assert holds_card_number(american)


def test_a_name_of_letters_beside_the_number_hides_nothing() -> None:
    assert holds_card_number(f"VISA{VISA}")
    assert holds_card_number(f"{VISA}x")


def test_digits_of_another_script_are_digits() -> None:
    assert holds_card_number(VISA.translate({ord("0") + digit: 0x660 + digit for digit in range(10)}))


@pytest.mark.parametrize(
    "text",
    [
        "DE*ABC*E0001*1",
        "NL-NCO-C12345678-X",
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "AT611904300234573201",
        "NO9386011117947",
        "CH9300762011623852957",
        "+4915123456789",
        "49.8728253 8.6511929",
        "17.400000000000002",
        "2026-10-29 2026-10-30",
        "1764486310123",
        "1764486310123456789",
        "1EMH0011223344",
        "04A2B3C4D5E680",
        "89490200001234567890",
        with_check_digit("35209900176148"),  # the number of a telephone (IMEI)
        with_check_digit("894902000012345678"),  # of a SIM card (ICCID)
        VISA[:-1] + str((int(VISA[-1]) + 1) % 10),
    ],
)
def test_what_charging_writes_is_no_card_number(text: str) -> None:
    assert not holds_card_number(text)
    assert mask_card_numbers(text) == text


def test_an_iban_in_a_sentence_hides_no_card_number_behind_it() -> None:
    assert holds_card_number(f"from DE89 3704 0044 0532 0130 00 or by card {VISA}")


@given(st.uuids())
def test_no_uuid_is_a_card_number(identifier: UUID) -> None:
    assert not holds_card_number(str(identifier))
    assert not holds_card_number(f"order-{identifier}")


def test_ids_and_hashes_are_hardly_ever_taken_for_one() -> None:
    """Random ids of the common alphabets: one in 50,000 may be taken for a card number."""
    chance = random.Random(20261130)
    alphabets = (string.ascii_letters + string.digits, "0123456789abcdef", "0123456789abcdefghjkmnpqrstvwxyz")
    taken = sum(
        holds_card_number("".join(chance.choices(alphabet, k=length)))
        for alphabet in alphabets
        for length in (20, 26, 32, 40, 64)
        for _ in range(4_000)
    )
    assert taken <= 1
    assert not any(holds_card_number(hashlib.sha256(str(n).encode()).hexdigest()) for n in range(4_000))
    assert not any(holds_card_number(format_id("auth", new_id())) for _ in range(4_000))


@given(st.text(alphabet=string.digits + string.ascii_letters + " -.+*", max_size=80))
def test_nothing_is_left_once_masked(text: str) -> None:
    assert not holds_card_number(mask_card_numbers(text))


def test_the_place_of_a_card_number_is_named_and_never_it() -> None:
    assert find_card_number({"metadata": {"a/b": ["x", VISA]}}) == "/metadata/a~1b/1"
    assert find_card_number({"metadata": {VISA: "x"}}) == "/metadata"
    assert find_card_number({VISA: 1}) == ""
    assert find_card_number({"amount": int(VISA)}) == "/amount"
    assert find_card_number({"amount": 10**15, "energy": 17.4, "on": True, "none": None}) is None
    assert find_card_number({"number": 10**400}) is None
