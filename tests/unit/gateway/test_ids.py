"""Ids: one text per id, a shard in every one, and a clear rejection of anything else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedIdError
from gateway.ids import SHARD_COUNT, format_id, new_id, parse_id, shard_of

# RFC 9562, appendix A.6: the example UUIDv7.
EXAMPLE = UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


def test_new_ids_are_version_7_and_sort_by_time() -> None:
    made = [new_id() for _ in range(1000)]
    assert {(identifier.version, identifier.variant) for identifier in made} == {(7, "specified in RFC 4122")}
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(type(identifier) is UUID for identifier in made)


@pytest.mark.parametrize("shard", [0, 1, 31, 63])
def test_an_id_made_for_a_shard_carries_it(shard: int) -> None:
    assert {shard_of(new_id(shard=shard)) for _ in range(50)} == {shard}
    assert new_id(shard=shard).version == 7


@pytest.mark.parametrize("shard", [-1, 64])
def test_a_shard_outside_its_bounds_is_a_bug_of_the_caller(shard: int) -> None:
    with pytest.raises(ValueError, match="outside 0 to 63"):
        new_id(shard=shard)


@given(st.uuids())
def test_shard_is_the_last_byte_and_63(identifier: UUID) -> None:
    assert shard_of(identifier) == identifier.bytes[-1] & 63
    assert 0 <= shard_of(identifier) < SHARD_COUNT


def test_ids_spread_over_all_shards() -> None:
    assert {shard_of(new_id()) for _ in range(4000)} == set(range(64))


def test_the_text_of_the_rfc_example() -> None:
    # 128 bits, two zero bits in front, five bits a character: worked by hand from the hexadecimal form.
    assert format_id("ses", EXAMPLE) == "ses_01fwhe4ydgfk1shh6w1g60eecf"


@given(st.uuids(), st.uuids())
def test_texts_round_trip_and_sort_as_ids_do(left: UUID, right: UUID) -> None:
    assert parse_id("cap", format_id("cap", left)) == left
    assert (format_id("cap", left) < format_id("cap", right)) == (left < right)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ses",
        "ses_",
        "cap_01fwhe4ydgfk1shh6w1g60eecf",
        "ses01fwhe4ydgfk1shh6w1g60eecf",
        "ses_01FWHE4YDGFK1SHH6W1G60EECF",
        "ses_01fwhe4ydgfk1shh6w1g60eec",
        "ses_01fwhe4ydgfk1shh6w1g60eecff",
        "ses_01fwhe4ydgfk1shh6w1g60eecu",
        "ses_81fwhe4ydgfk1shh6w1g60eecf",
        "ses_01fwhe4ydgfk1shh6w1g60eec\N{FULLWIDTH LATIN SMALL LETTER F}",
        "ses_017f22e279b07cc398c4dc0c0c07398f",
        " ses_01fwhe4ydgfk1shh6w1g60eecf",
        "ses_01fwhe4ydgfk1shh6w1g60eecf\n",
        "017f22e279b07cc398c4dc0c0c07398f",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n",
        "ses_017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    ],
)
def test_anything_but_the_public_text_and_the_bare_uuid_is_rejected(text: str) -> None:
    with pytest.raises(MalformedIdError, match="is not an id of the form ses_"):
        parse_id("ses", text)


@given(st.text(max_size=40))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        identifier = parse_id("ses", text)
    except MalformedIdError:
        return
    assert text in {format_id("ses", identifier), str(identifier), str(identifier).upper()}


@given(st.uuids())
def test_the_bare_uuid_names_the_same_id(identifier: UUID) -> None:
    """RFC 9562 section 4: hexadecimal digits are read in either case."""
    assert parse_id("ses", str(identifier)) == identifier
    assert parse_id("ses", str(identifier).upper()) == identifier


def test_a_rejection_never_repeats_a_long_text() -> None:
    with pytest.raises(MalformedIdError) as rejection:
        parse_id("ses", "x" * 100_000)
    assert len(str(rejection.value)) < 200


@pytest.mark.parametrize("prefix", ["", "S", "ses_", "1se", "a" * 17])
def test_a_prefix_is_lower_case_letters_and_digits(prefix: str) -> None:
    with pytest.raises(ValueError, match="no id prefix"):
        format_id(prefix, EXAMPLE)
