"""A row that an insert left out is known to be stored; one that was added may yet be rolled back."""

from clearing.stored_names import StoredNames

ROWS = {"a": "1", "b": "2"}


def test_nothing_is_known_at_first_and_what_was_added_is_not_known_yet() -> None:
    stored = StoredNames()
    assert stored.missing(ROWS) == ROWS
    stored.inserted(ROWS, {"transaction": "7", "fresh": ["a", "b"]})
    assert stored.missing(ROWS) == ROWS


def test_what_another_transaction_left_out_is_known() -> None:
    stored = StoredNames()
    stored.inserted(ROWS, {"transaction": "7", "fresh": ["a"]})
    assert stored.missing(ROWS) == {"a": "1"}
    stored.inserted(["a"], {"transaction": "8", "fresh": []})
    assert stored.missing(ROWS) == {}


def test_what_the_transaction_left_out_that_added_it_may_be_rolled_back_with_it() -> None:
    stored = StoredNames()
    stored.inserted(["a"], {"transaction": "7", "fresh": ["a"]})
    stored.inserted(["a"], {"transaction": "7", "fresh": []})
    assert stored.missing({"a": "1"}) == {"a": "1"}
    stored.inserted(["a"], {"transaction": "8", "fresh": ["a"]})  # it was rolled back
    assert stored.missing({"a": "1"}) == {"a": "1"}


def test_what_is_kept_is_bounded() -> None:
    stored = StoredNames()
    many = {str(number): "" for number in range(10_001)}
    stored.inserted(many, {"transaction": "7", "fresh": []})
    stored.inserted(["x"], {"transaction": "8", "fresh": []})
    assert stored.missing(many) == many
    assert stored.missing({"x": ""}) == {}
