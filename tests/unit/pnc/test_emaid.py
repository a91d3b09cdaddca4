"""eMAIDs: every written form names one contract, look-alikes name none, check digits find errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnc.emaid import CheckDigit, EmaidForm, din_check_digit, iso_check_digit, parse_emaid
from pnc.errors import MalformedEmaidError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALL = LETTERS + "0123456789"
BODIES = st.builds(
    lambda country, rest: country + rest,
    st.text(LETTERS, min_size=2, max_size=2),
    st.text(ALL, min_size=12, max_size=12),
)
# Published worked examples of the two algorithms (eMI3 part 2; DIN SPEC 91286).
ISO_EXAMPLES = {
    "NN123ABCDEFGHI": "T",
    "FRXYZ123456789": "2",
    "ITA1B2C3E4F5G6": "4",
    "ESZU8WOX834H1D": "R",
    "PT73902837ABCZ": "Z",
    "DE83DUIEN83QGZ": "D",
    "DE83DUIEN83ZGQ": "M",
    "DE8AA001234567": "0",
}
DIN_EXAMPLES = {71: "9", 110: "X", 124: "0", 114: "6", 191: "5"}


@pytest.mark.parametrize(("body", "digit"), ISO_EXAMPLES.items())
def test_the_iso_check_digit_is_the_published_one(body: str, digit: str) -> None:
    assert iso_check_digit(body) == digit
    assert parse_emaid(body + digit).check is CheckDigit.RIGHT


@pytest.mark.parametrize(("instance", "digit"), DIN_EXAMPLES.items())
def test_the_din_check_digit_is_the_published_one(instance: int, digit: str) -> None:
    assert din_check_digit(f"INTNM{instance:06d}") == digit


@given(BODIES, st.integers(0, 13), st.sampled_from(ALL))
def test_the_iso_check_digit_finds_every_single_error(body: str, place: int, wrong: str) -> None:
    bent = body[:place] + wrong + body[place + 1 :]
    assert bent == body or iso_check_digit(bent) != iso_check_digit(body)


@given(BODIES, st.integers(0, 12))
def test_the_iso_check_digit_finds_every_transposition(body: str, place: int) -> None:
    swapped = body[:place] + body[place + 1] + body[place] + body[place + 2 :]
    assert swapped == body or iso_check_digit(swapped) != iso_check_digit(body)


@given(BODIES)
def test_every_iso_form_names_the_same_contract(body: str) -> None:
    parts = (body[:2], body[2:5], body[5:])
    digit = iso_check_digit(body)
    forms = [body, body.lower(), body + digit, "-".join(parts), "-".join((*parts, digit))]
    assert {parse_emaid(form).body for form in forms} == {body}


@pytest.mark.parametrize("text", ["NL-TNM-012204-5", "NL*TNM*012204*5", "NLTNM0122045", "nltnm012204"])
def test_every_din_form_names_its_iso_contract(text: str) -> None:
    emaid = parse_emaid(text)
    assert (emaid.body, emaid.form) == ("NLTNMC00122045", EmaidForm.DIN)


def test_a_wrong_check_digit_warns_and_is_rejected_where_strict() -> None:
    assert parse_emaid("DE8AA001234567X").check is CheckDigit.WRONG
    with pytest.raises(MalformedEmaidError, match="check digit"):
        parse_emaid("DE8AA001234567X", strict=True)


REJECTED = [
    "",
    "DE",
    "DE8AA00123456",
    "DE8AA00123456700",
    "1E8AA001234567",
    "DE8AA00123456\u0661",
    "DE8AA00123456\u00b2",
    "\uff24\uff258AA001234567",
    "D\u04158AA001234567",
    "DE8AA001234567\x00",
    "DE8AA001234567\n",
    "DE 8AA 001234567",
    "DE_8AA_001234567",
    "DE--8AA-001234567",
    "DE8AA00123456\u017f",
    "DE8AA00123456\u212a",
    "DE*8AA-012204-5",
]


@pytest.mark.parametrize("text", REJECTED)
def test_a_look_alike_and_another_shape_is_no_emaid(text: str) -> None:
    with pytest.raises(MalformedEmaidError):
        parse_emaid(text)


def test_a_din_emaid_has_a_body_by_each_published_mapping() -> None:
    digit = din_check_digit("DE8AA123456")
    emaid = parse_emaid("DE*8AA*123456")
    assert emaid.bodies == (f"DE8AAC0123456{digit}", f"DE8AA00123456{digit}")
    # The example of a public library of the second mapping.
    assert "NLTNM000122045" in parse_emaid("NL-TNM-012204-5").bodies
    assert parse_emaid("DE8AA001234567").bodies == ("DE8AA001234567",)
