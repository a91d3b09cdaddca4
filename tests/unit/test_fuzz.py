"""Who `make fuzz` calls as, and what it asks schemathesis to do."""

from tests.fuzz import CALLERS, command_of, key_of

STACK = {
    "admin_api_key": "nck_admin",
    "api_keys": {"parkingapp": "nck_parking", "mobility": "nck_mobility", "NL-POL": "nck_operator"},
}


def command(caller: str, seed: int | None = None) -> list[str]:
    return command_of(
        "schemathesis", base_url="http://127.0.0.1:1", key=key_of(STACK, caller), seconds=60, seed=seed
    )


def test_each_kind_of_party_calls_with_its_key_and_one_caller_has_none() -> None:
    sent = {
        caller: [part for part in command(caller) if part.startswith("Authorization")] for caller in CALLERS
    }
    assert sent["none"] == []
    assert len({tuple(headers) for headers in sent.values()}) == len(CALLERS)
    assert CALLERS[-1] == "admin"


def test_a_run_is_bounded_and_a_seed_repeats_it() -> None:
    line = command("admin", seed=7)
    assert line[line.index("--max-time") + 1] == "60"
    assert line[line.index("--seed") + 1] == "7"
    assert "--seed" not in command("admin")
