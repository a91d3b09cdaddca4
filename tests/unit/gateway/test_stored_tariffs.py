"""Frozen tariffs that a process keeps: the ones used last."""

from gateway.stored_tariffs import StoredTariff, StoredTariffs


def _tariff(sha256: str, *, size_bytes: int = 2) -> StoredTariff:
    return StoredTariff(sha256=sha256, canonical=b" " * size_bytes, version="2.2.1", currency="EUR")


def test_the_least_recently_used_is_removed_first() -> None:
    stored = StoredTariffs(most=2)
    for name in ("a", "b"):
        stored.keep(_tariff(name))
    assert stored.known("a") is not None
    stored.keep(_tariff("c"))
    assert stored.known("b") is None
    assert stored.known("a") is not None


def test_one_that_is_kept_again_is_the_last_used() -> None:
    stored = StoredTariffs(most=2)
    for name in ("a", "b", "a", "c"):
        stored.keep(_tariff(name))
    assert stored.known("b") is None
    assert stored.known("a") is not None


def test_a_large_one_is_not_kept() -> None:
    stored = StoredTariffs()
    stored.keep(_tariff("a", size_bytes=65_537))
    assert stored.known("a") is None
