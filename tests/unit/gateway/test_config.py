"""Settings: each source and its precedence, each rejection in one line, and no secret in any text."""

import base64
import json
import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from clearing.services import build_clearing
from gateway.clock import SystemClock
from gateway.config import (
    ClockSource,
    Environment,
    LogFormat,
    Settings,
    base_url_of,
    load_database_url,
    load_inbox_path,
    load_settings,
    load_some_settings,
)
from gateway.errors import ConfigurationError
from gateway.jobs.bank_files import bank_jobs
from gateway.set_values import _allowed, _types

PASSWORD = "hunter2-hunter2"
WEBHOOK_KEY = "A" * 43 + "="
MINIMUM = {
    "DATABASE_URL": f"postgresql://app:{PASSWORD}@db/networkcore",
    "NETWORKCORE_PSP_API_KEY": "sk_test_a-secret-key",
    "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_a-secret",
}


def rejection(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_smallest_environment_gives_the_documented_defaults() -> None:
    settings = load_settings(MINIMUM)
    assert settings.database_url.get_secret_value() == MINIMUM["DATABASE_URL"]
    assert settings.psp_base_url is None
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.base_url == "http://127.0.0.1:8080"
    assert settings.environment is Environment.SANDBOX
    assert settings.clock is ClockSource.SYSTEM
    assert settings.log_format is LogFormat.JSON
    assert settings.workers_in_process is False


def test_settings_do_not_change() -> None:
    settings = load_settings(MINIMUM)
    with pytest.raises(ValidationError):
        settings.port = 1


@pytest.mark.parametrize("variable", sorted(MINIMUM))
def test_each_missing_setting_is_named_with_the_way_to_give_it(variable: str) -> None:
    text = rejection({name: value for name, value in MINIMUM.items() if name != variable})
    assert text.startswith(f"{variable} is missing: set it, or {variable}_FILE")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "NETWORKCORE_PORT",
            "99999",
            "PORT is invalid: expected a whole number of 0 or more and at most 65535, got '99999'",
        ),
        ("NETWORKCORE_PORT", "http", "at most 65535, got 'http'"),
        ("NETWORKCORE_CLOCK", "sundial", "CLOCK is invalid: expected system or market, got 'sundial'"),
        (
            "NETWORKCORE_PSP_TIMEOUT_SECONDS",
            "0",
            "_SECONDS is invalid: expected a number above 0 and at most 80, got '0'",
        ),
        ("NETWORKCORE_PSP_TIMEOUT_SECONDS", "nan", "expected a number above 0 and at most 80, got 'nan'"),
        ("NETWORKCORE_CLOSE_BOOKS_AFTER_DAYS", "1.5", "expected a whole number of 1 or more and at most 366"),
        (
            "NETWORKCORE_PSP_BASE_URL",
            "localhost:12",
            "NETWORKCORE_PSP_BASE_URL is invalid: expected an http or https URL",
        ),
        ("NETWORKCORE_PUBLIC_URL", "https://a.example/?x=1", "NETWORKCORE_PUBLIC_URL is invalid"),
        ("NETWORKCORE_ADMIN_API_KEY", "short", "NETWORKCORE_ADMIN_API_KEY is invalid: expected at least 16"),
        (
            "NETWORKCORE_DATABASE_POOL_MAX",
            "1",
            "NETWORKCORE_DATABASE_POOL_MIN is above NETWORKCORE_DATABASE_POOL_MAX",
        ),
        (
            "NETWORKCORE_WORKERS_IN_PROCESS",
            "perhaps",
            "NETWORKCORE_WORKERS_IN_PROCESS is invalid: expected true or false, got 'perhaps'",
        ),
        ("DATABASE_URL", "mysql://db", "DATABASE_URL is invalid: expected a URL such as postgresql://"),
        ("NETWORKCORE_PROT", "8080", "NETWORKCORE_PROT is not a setting; did you mean NETWORKCORE_PORT?"),
        (
            "NETWORKCORE_CONFIG",
            "/nowhere.toml",
            "NETWORKCORE_CONFIG names /nowhere.toml, which can't be read",
        ),
    ],
)
def test_each_wrong_setting_is_named(variable: str, value: str, said: str) -> None:
    assert said in rejection(MINIMUM | {variable: value})


@pytest.mark.parametrize("name", ["NETWORKCORE_COLOR", "NETWORKCORE_XYZ_TIMEOUT", "NETWORKCORE_FOO"])
def test_an_unknown_setting_gets_no_far_fetched_suggestion(name: str) -> None:
    assert rejection(MINIMUM | {name: "1"}) == f"{name} is not a setting"


def test_a_wrong_setting_is_named_with_the_place_it_was_set_at(tmp_path: Path) -> None:
    config, secret = tmp_path / "networkcore.toml", tmp_path / "port"
    config.write_text("host = 5\nworker_poll_ms = 1.5\nworkers_in_process = 7\n", encoding="utf-8")
    secret.write_text("many\n", encoding="utf-8")
    assert rejection(MINIMUM | {"NETWORKCORE_CONFIG": str(config)}) == (
        f"workers_in_process in {config} is invalid: expected true or false, got 7; "
        f"worker_poll_ms in {config} is invalid: "
        "expected a whole number of 10 or more and at most 60000, got 1.5; "
        f"host in {config} is invalid: expected text of at least 1 characters, got 5"
    )
    assert rejection(MINIMUM | {"NETWORKCORE_PORT_FILE": str(secret)}) == (
        f"NETWORKCORE_PORT in {secret}, named by NETWORKCORE_PORT_FILE, is invalid: "
        "expected a whole number of 0 or more and at most 65535, got 'many'"
    )


def test_every_setting_says_what_it_may_be_in_our_words() -> None:
    kinds = ("a whole number", "a number", "true or false", "text", " or ")
    for name, field in Settings.model_fields.items():
        assert any(kind in _allowed(field) for kind in kinds), name
    texts = " ".join(rejection(MINIMUM | {f"NETWORKCORE_{name.upper()}": "?"}) for name in ("port", "clock"))
    assert not re.search(r"Input should|validation error|pydantic|type=", texts)


def test_all_wrong_settings_are_named_at_once() -> None:
    text = rejection(MINIMUM | {"NETWORKCORE_PORT": "x", "NETWORKCORE_LOG_LEVEL": "loud"})
    assert "NETWORKCORE_PORT" in text
    assert "NETWORKCORE_LOG_LEVEL" in text


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({}, "NETWORKCORE_PUBLIC_URL must be set and https in production"),
        ({"NETWORKCORE_PUBLIC_URL": "http://a.example"}, "NETWORKCORE_PUBLIC_URL must be set and https"),
        ({"NETWORKCORE_CLOCK": "market"}, "NETWORKCORE_CLOCK must be system in production"),
        (
            {
                "NETWORKCORE_PUBLIC_URL": "https://pay.example",
                "NETWORKCORE_CONTRACT_POOL_URL": "http://pool.example",
                "NETWORKCORE_CONTRACT_POOL_TOKEN": "pool-token",
            },
            "NETWORKCORE_CONTRACT_POOL_URL must be https in production",
        ),
        (
            {
                "NETWORKCORE_PUBLIC_URL": "https://pay.example",
                "NETWORKCORE_ECB_RATES_URL": "http://rates.example/eurofxref-hist-90d.xml",
            },
            "NETWORKCORE_ECB_RATES_URL must be https in production",
        ),
        (
            {"NETWORKCORE_PUBLIC_URL": "https://a.example"},
            "NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS must be set in production",
        ),
        ({"NETWORKCORE_PSP_BASE_URL": "http://127.0.0.1:9"}, "NETWORKCORE_PSP_BASE_URL must be https"),
    ],
)
def test_production_rejects_what_only_test_money_allows(extra: dict[str, str], said: str) -> None:
    assert said in rejection(MINIMUM | {"NETWORKCORE_ENVIRONMENT": "production"} | extra)


@pytest.mark.parametrize(
    "value",
    ["2026-11", f":{WEBHOOK_KEY}", "2026-11:c2hvcnQ=", f"a:{WEBHOOK_KEY},a:{WEBHOOK_KEY}", "a:not base64"],
)
def test_a_wrong_webhook_key_is_rejected_and_never_repeated(value: str) -> None:
    text = rejection(MINIMUM | {"NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS": value})
    assert "NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS is invalid" in text
    assert WEBHOOK_KEY not in text


def test_webhook_keys_keep_their_order_the_one_for_new_secrets_first() -> None:
    value = f"2026-11:{WEBHOOK_KEY}, 2025-01:{'B' * 43}="
    settings = load_settings(MINIMUM | {"NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS": value})
    assert [name for name, _ in settings.webhook_keys] == ["2026-11", "2025-01"]
    assert load_settings(MINIMUM).webhook_keys == []


def test_production_starts_when_all_is_right() -> None:
    extra = {
        "NETWORKCORE_ENVIRONMENT": "production",
        "NETWORKCORE_PUBLIC_URL": "https://pay.example/",
        "NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS": f"2026-11:{WEBHOOK_KEY}",
    }
    assert load_settings(MINIMUM | extra).base_url == "https://pay.example"


def test_the_environment_is_above_secret_files_and_these_above_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "networkcore.toml"
    config.write_text('port = 1001\nhost = "0.0.0.0"\nworker_parallel_shards = 4\n', encoding="utf-8")
    secret = tmp_path / "port"
    secret.write_text("1002\n", encoding="utf-8")
    environ = MINIMUM | {"NETWORKCORE_CONFIG": str(config)}
    assert load_settings(environ).port == 1001
    assert load_settings(environ | {"NETWORKCORE_PORT_FILE": str(secret)}).port == 1002
    settings = load_settings(environ | {"NETWORKCORE_PORT_FILE": str(secret), "NETWORKCORE_PORT": "1003"})
    assert (settings.port, settings.host, settings.worker_parallel_shards) == (1003, "0.0.0.0", 4)


def test_a_secret_file_is_read_without_its_closing_line_end(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk_test_from-a-file\n", encoding="utf-8")
    environ = {name: value for name, value in MINIMUM.items() if name != "NETWORKCORE_PSP_API_KEY"}
    settings = load_settings(environ | {"NETWORKCORE_PSP_API_KEY_FILE": str(secret)})
    assert settings.psp_api_key.get_secret_value() == "sk_test_from-a-file"


def test_a_secret_file_that_is_missing_too_long_or_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    environ = MINIMUM | {"NETWORKCORE_PSP_API_KEY_FILE": str(path)}
    assert f"NETWORKCORE_PSP_API_KEY_FILE names {path}, which can't be read" in rejection(environ)
    path.write_bytes(b"x" * 70_000)
    assert "longer than 65536 bytes" in rejection(environ)
    path.write_bytes(b"\xff\xfe")
    assert "not UTF-8 text" in rejection(environ)


@pytest.mark.parametrize("content", ["prot = 1\n", "port = \n"])
def test_a_config_file_with_an_unknown_key_or_no_toml_is_rejected(tmp_path: Path, content: str) -> None:
    config = tmp_path / "networkcore.toml"
    config.write_text(content, encoding="utf-8")
    assert str(config) in rejection(MINIMUM | {"NETWORKCORE_CONFIG": str(config)})


def test_no_secret_shows_in_any_text_of_the_settings() -> None:
    settings = load_settings(MINIMUM | {"NETWORKCORE_ADMIN_API_KEY": "nck_a-long-admin-key"})
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        for secret in (PASSWORD, "a-secret-key", "whsec_a-secret", "a-long-admin-key"):
            assert secret not in text
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "address",
    [
        f"postgresqlx://app:{PASSWORD}@db/x",
        f"http://app:{PASSWORD}@db",
        f"app:{PASSWORD}@[db",
        f"//\u2100{PASSWORD}@x",
    ],
)
def test_no_rejection_repeats_the_password(address: str) -> None:
    assert PASSWORD not in rejection(MINIMUM | {"DATABASE_URL": address})
    with pytest.raises(ConfigurationError) as caught:
        load_database_url({"DATABASE_URL": address})
    assert PASSWORD not in str(caught.value)


def test_a_wrong_secret_is_not_repeated() -> None:
    assert "sk_tiny" not in rejection(MINIMUM | {"NETWORKCORE_PSP_API_KEY": "sk_tiny"})


def test_keys_of_the_psp_are_of_one_mode() -> None:
    keys = {
        "NETWORKCORE_PSP_API_KEY": "sk_live_abcdefgh",
        "NETWORKCORE_PSP_PUBLISHABLE_KEY": "pk_test_abcdefgh",
    }
    said = rejection(MINIMUM | keys)
    assert "one is a test key" in said
    assert "abcdefgh" not in said
    load_settings(MINIMUM | keys | {"NETWORKCORE_PSP_API_KEY": "sk_test_abcdefgh"})
    assert "never a secret one" in rejection(
        MINIMUM | {"NETWORKCORE_PSP_PUBLISHABLE_KEY": "sk_live_abcdefgh"}
    )


def test_no_secret_setting_is_ever_repeated() -> None:
    secrets = [
        "oidc_client_secret",
        "direct_database_url",
        "database_url",
        "psp_api_key",
        "psp_publishable_key",  # no secret, but a secret key may be put there by mistake
        "psp_webhook_secret",
        "contract_pool_token",
        "admin_api_key",
        "webhook_encryption_keys",
    ]
    assert secrets == [name for name, field in Settings.model_fields.items() if SecretStr in _types(field)]
    for name in secrets:
        assert "abc" not in rejection(MINIMUM | {f"NETWORKCORE_{name.upper()}": "abc"})


def test_commands_that_need_the_database_alone_ask_for_nothing_else() -> None:
    assert load_database_url({"DATABASE_URL": MINIMUM["DATABASE_URL"]}) == MINIMUM["DATABASE_URL"]
    with pytest.raises(ConfigurationError, match="DATABASE_URL is missing"):
        load_database_url({})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"NETWORKCORE_BANK_ACCOUNT_PATH": "a.json"}, "go together"),
        ({"NETWORKCORE_BANK_OUTBOX_PATH": "/out"}, "go together"),
        ({"NETWORKCORE_CONTRACT_POOL_URL": "https://pool.example"}, "go together"),
        (
            {
                "NETWORKCORE_BANK_ACCOUNT_PATH": "a.json",
                "NETWORKCORE_BANK_OUTBOX_PATH": "/x",
                "NETWORKCORE_BANK_INBOX_PATH": "/x",
            },
            "one directory",
        ),
        ({"NETWORKCORE_BANK_CUT_OFF": "11"}, "NETWORKCORE_BANK_CUT_OFF is invalid: expected a time of day"),
        ({"NETWORKCORE_BANK_CUT_OFF": "24:00"}, "NETWORKCORE_BANK_CUT_OFF is invalid"),
        ({"NETWORKCORE_BANK_TIME_ZONE": "Zurich"}, "NETWORKCORE_BANK_TIME_ZONE is invalid: expected an IANA"),
    ],
)
def test_half_a_bank_connection_is_rejected(changes: dict[str, str], said: str) -> None:
    assert said in rejection({**MINIMUM, **changes})


def test_the_inbox_alone_is_read_without_the_rest() -> None:
    assert load_inbox_path({}) is None
    assert load_inbox_path({"NETWORKCORE_BANK_INBOX_PATH": "/in"}) == "/in"


ACCOUNT = {"name": "P", "iban": "CH9300762011623852957", "address": {"town": "Zug", "country": "CH"}}


def bank_settings(tmp_path: Path, account: object = ACCOUNT) -> Settings:
    (tmp_path / "account.json").write_text(json.dumps(account))
    return load_settings(
        {
            **MINIMUM,
            "NETWORKCORE_BANK_ACCOUNT_PATH": str(tmp_path / "account.json"),
            "NETWORKCORE_BANK_OUTBOX_PATH": str(tmp_path / "out"),
            "NETWORKCORE_BANK_INBOX_PATH": str(tmp_path / "in"),
        }
    )


def jobs_of(settings: Settings) -> list[str]:
    nothing: Any = None
    return [
        job.name
        for job in bank_jobs(
            settings, pool=nothing, clock=SystemClock(), clearing=build_clearing(), checks=nothing
        )
    ]


def test_the_bank_jobs_run_only_where_their_directories_are_set(tmp_path: Path) -> None:
    assert jobs_of(load_settings(MINIMUM)) == []
    for name in ("in", "out"):
        (tmp_path / name).mkdir(mode=0o700)
    assert jobs_of(bank_settings(tmp_path)) == ["bank_outbox", "bank_inbox"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["done", "failed", "working"]


def test_a_directory_that_is_missing_or_anybodys_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"BANK_OUTBOX_PATH names .*no directory"):
        jobs_of(bank_settings(tmp_path))
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "out").chmod(0o777)
    with pytest.raises(ConfigurationError, match="everybody may write to"):
        jobs_of(bank_settings(tmp_path))


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({}, "expected name, iban"),
        ([], "expected name, iban"),
        ({**ACCOUNT, "iban": "CH9300762011623852958"}, "is not an IBAN"),
        ({**ACCOUNT, "iban": "CH4431999123000889012"}, "QR-IBAN"),
        ({**ACCOUNT, "address": {"town": "", "country": "CH"}}, "address.town"),
        ({**ACCOUNT, "owner": "x"}, "expected name, iban"),
    ],
)
def test_a_paying_account_that_is_wrong_is_named(tmp_path: Path, account: object, said: str) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=said) as rejected:
        jobs_of(bank_settings(tmp_path, account))
    assert "account.json" in str(rejected.value)


def test_some_settings_are_read_without_the_others_and_checked_alike() -> None:
    found = load_some_settings({"NETWORKCORE_PSP_API_KEY": "sk_test_1"}, "psp_api_key", "psp_base_url")
    assert found["psp_api_key"].get_secret_value() == "sk_test_1"
    assert found["psp_base_url"] is None
    for environ, words in (
        ({}, "NETWORKCORE_PSP_API_KEY is missing"),
        ({"NETWORKCORE_PSP_API_KEY": "short"}, "NETWORKCORE_PSP_API_KEY is invalid"),
        (
            {"NETWORKCORE_PSP_API_KEY": "sk_test_1", "NETWORKCORE_PSP_BASE_URL": "x"},
            "PSP_BASE_URL is invalid",
        ),
        ({"NETWORKCORE_PSP_API_KY": "sk_test_1"}, "did you mean NETWORKCORE_PSP_API_KEY?"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(words)) as raised:
            load_some_settings(environ, "psp_api_key", "psp_base_url")
        assert "\n" not in str(raised.value)
        assert "short" not in str(raised.value)


def test_the_base_url_is_the_public_one_or_that_of_the_listener() -> None:
    at = {"host": "127.0.0.1", "port": 8080, "tls_certificate_path": None}
    assert base_url_of(public_url=None, **at) == "http://127.0.0.1:8080"  # type: ignore[arg-type]
    assert base_url_of(public_url="https://g.example", **at) == "https://g.example"  # type: ignore[arg-type]
    tls = base_url_of(public_url=None, host="h", port=1, tls_certificate_path="c.pem")
    assert tls == "https://h:1"


def test_the_openid_provider_is_set_whole_and_https_where_the_money_is_real() -> None:
    issuer = {"NETWORKCORE_OIDC_ISSUER": "http://login.example/realm"}
    assert "go together" in rejection(MINIMUM | issuer)
    client = issuer | {"NETWORKCORE_OIDC_CLIENT_ID": "networkcore"}
    assert load_settings(MINIMUM | client).oidc_issuer == "http://login.example/realm"
    assert "NETWORKCORE_OIDC_ISSUER" in rejection(MINIMUM | client | {"NETWORKCORE_OIDC_ISSUER": "login"})
    production = {
        "NETWORKCORE_ENVIRONMENT": "production",
        "NETWORKCORE_PUBLIC_URL": "https://gateway.example",
        "NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS": f"a:{base64.b64encode(bytes(32)).decode()}",
    }
    assert "NETWORKCORE_OIDC_ISSUER must be https" in rejection(MINIMUM | client | production)
    limits = load_settings(MINIMUM | {"NETWORKCORE_CONSOLE_IDLE_MINUTES": "5"})
    assert limits.console_idle == timedelta(minutes=5)
