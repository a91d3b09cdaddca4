"""What is shipped: the image, the compose file, the pins and the wheel say what they must, and agree."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.main import COMMANDS, networkcore
from gateway.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==(\S+)", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall(read(name)))


def test_the_image_is_built_in_stages_from_hashes_and_never_runs_as_root() -> None:
    instructions = [line for line in read("Dockerfile").splitlines() if line and not line.startswith("#")]
    bases = [line for line in instructions if line.startswith("FROM ")]
    assert len(bases) == 2
    assert all(re.fullmatch(r"FROM python:3\.\d+-slim( AS build)?", base) for base in bases)
    last = instructions[instructions.index(bases[-1]) :]
    users = [line.split()[1] for line in last if line.startswith("USER ")]
    assert users
    assert all(user.split(":")[0].isdecimal() and user.split(":")[0] != "0" for user in users)
    assert "--require-hashes" in read("Dockerfile")
    assert not re.search(r"^(ENV|ARG) .*(KEY|SECRET|PASSWORD|TOKEN)", read("Dockerfile"), re.MULTILINE)


def test_the_image_is_made_of_named_files_only() -> None:
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        part
        for line in read("Dockerfile").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for part in line.split()[1:-1]
    }
    assert copied == let_in
    assert not {name for name in let_in if "secret" in name or name.startswith(".env")}


def test_every_lasting_service_has_a_health_check_and_restarts(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"postgres", "sandbox-psp", "migrate", "gateway", "worker"}
    for name, service in services.items():
        assert service["restart"] in {"unless-stopped", "on-failure"}
        assert name == "migrate" or service["healthcheck"]["test"][0] == "CMD"
    assert services["postgres"]["image"] == "postgres:18"
    # Version 18 of the image keeps its data one directory higher than those before.
    assert services["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql"]


def test_our_containers_hold_no_rights_and_write_nowhere_else(compose: dict[str, Any]) -> None:
    for name in ("sandbox-psp", "migrate", "gateway", "worker"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert "user" not in service


def test_secrets_come_as_files_and_no_variable_holds_one(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            telling = re.search(r"KEY|SECRET|PASSWORD|DATABASE_URL|TOKEN", variable)
            assert not telling or variable.endswith("_FILE"), f"{name}: {variable}"
            if variable.endswith("_FILE"):
                assert Path(value).name in service["secrets"], f"{name}: {variable}"
        for secret in service.get("secrets", []):
            assert compose["secrets"][secret]["file"] == f"./secrets/{secret}"
    assert "secrets/" in read(".gitignore").splitlines()


def test_only_the_gateway_is_reachable_and_only_from_this_machine(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:8080:8080"]}


def test_every_container_is_given_longer_than_its_grace_to_stop(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("gateway", "worker"):
        settings = load_settings(compose_environment(compose, name, make_secrets(tmp_path)))
        assert (
            int(compose["services"][name]["stop_grace_period"].removesuffix("s"))
            > settings.shutdown_grace_seconds
        )


def test_the_made_secrets_and_the_compose_file_make_valid_settings(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    secrets = make_secrets(tmp_path)
    for name in ("gateway", "worker"):
        settings = load_settings(compose_environment(compose, name, secrets))
        password = (secrets / "database_app_password").read_text(encoding="utf-8")
        address = settings.database_url.get_secret_value()
        assert f"//networkcore_app:{password}@" in address
        assert settings.psp_base_url == "http://sandbox-psp:12111"
        assert settings.admin_api_key is not None
        assert re.fullmatch(r"nck_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", settings.admin_api_key.get_secret_value())


def test_the_compose_file_names_every_setting_that_an_operator_decides_on() -> None:
    tuning = (
        "database_pool_",
        "database_connect_",
        "database_statement_",
        "worker_",
        "max_",
        "request_",
        "vat_",
    )
    left_alone = {"clock", "log_level", "psp_timeout_seconds", "shutdown_grace_seconds", "workers_in_process"}
    text = read("docker-compose.yml")
    for field in Settings.model_fields:
        if not field.startswith(tuning) and field not in left_alone:
            assert f"NETWORKCORE_{field.upper()}" in text, field


def test_what_the_compose_file_leaves_commented_is_a_setting() -> None:
    for name in re.findall(r"NETWORKCORE_([A-Z_]+):", read("docker-compose.yml")):
        assert name.lower().removesuffix("_file") in Settings.model_fields, name


def test_the_bank_directories_of_the_compose_file_are_mounted_where_the_settings_look() -> None:
    text = read("docker-compose.yml")
    for name in ("ACCOUNT", "OUTBOX", "INBOX"):
        (path,) = re.findall(rf"NETWORKCORE_BANK_{name}_PATH: (\S+)", text)
        mounts = re.findall(r"# +- \S+:(/[^:\s]+)", text)
        assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path


def test_secrets_are_made_once_and_differ_between_installations(tmp_path: Path) -> None:
    first = {path.name: path.read_text(encoding="utf-8") for path in make_secrets(tmp_path / "a").iterdir()}
    again = {path.name: path.read_text(encoding="utf-8") for path in make_secrets(tmp_path / "a").iterdir()}
    other = {path.name: path.read_text(encoding="utf-8") for path in make_secrets(tmp_path / "b").iterdir()}
    assert first == again
    assert {name for name in first if first[name] == other[name]} == {
        "psp_api_key",
        "psp_publishable_key",
    }
    assert (tmp_path / "a" / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_compose_file_calls_commands_and_options_that_exist(compose: dict[str, Any]) -> None:
    known = {name for commands in COMMANDS.values() for name in commands}
    for service in compose["services"].values():
        if "command" not in service:
            continue
        name, *options = service["command"]
        assert name in known
        command = networkcore.get_command(
            networkcore.make_context("networkcore", ["--help"], resilient_parsing=True), name
        )
        assert command is not None
        accepted = {text for parameter in command.params for text in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= accepted


def make_secrets(place: Path) -> Path:
    (place / "deploy").mkdir(parents=True, exist_ok=True)
    script = shutil.copy(ROOT / "deploy" / "make-secrets.sh", place / "deploy")
    subprocess.run(["/bin/sh", script], check=True, capture_output=True, env={"PATH": os.defpath})
    return place / "secrets"


def compose_environment(compose: dict[str, Any], name: str, secrets: Path) -> dict[str, str]:
    given: dict[str, str] = compose["services"][name]["environment"]
    return {variable: value.replace("/run/secrets", str(secrets)) for variable, value in given.items()}


@pytest.mark.parametrize(
    "name", [f"requirements{part}.txt" for part in ("", "-dev", "-build", "-fuzz", "-otel", "-site")]
)
def test_every_requirement_is_one_version_with_hashes(name: str) -> None:
    entries = [
        entry for entry in re.split(r"\n(?=[a-z0-9])", read(name).strip()) if not entry.startswith("#")
    ]
    assert entries
    for entry in entries:
        assert PIN.match(entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_runtime_pins_are_a_part_of_the_development_pins(project: dict[str, Any]) -> None:
    runtime, development = pins("requirements.txt"), pins("requirements-dev.txt")
    assert runtime.items() <= development.items()
    assert "pytest" not in runtime
    direct = {re.split(r"[<>=;\[ ]", text)[0].lower() for text in project["project"]["dependencies"]}
    wanted = {
        re.split(r"[<>=;\[ ]", text)[0].lower() for text in project["project"]["optional-dependencies"]["dev"]
    }
    assert direct <= set(runtime)
    assert wanted <= set(development)
    traced = {re.split(r"[<>=;\[ ]", text)[0] for text in project["project"]["optional-dependencies"]["otel"]}
    assert traced <= set(pins("requirements-otel.txt"))
    assert pins("requirements-otel.txt").items() <= development.items()


def test_pre_commit_is_quick_and_a_push_runs_what_continuous_integration_runs() -> None:
    hooks = {
        hook["stages"][0]: hook
        for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
        for hook in repo["hooks"]
    }
    assert "make lint-files " in hooks["pre-commit"]["entry"]
    test = re.search(r"^test: ([a-z ]+)", read("Makefile"), re.MULTILINE)
    assert test is not None
    whole = [target.replace("pytest", "test-fast") for target in test[1].split()]
    assert hooks["pre-push"]["entry"].split() == ["make", *whole]
    assert "make test" in read(".ci/run")


def test_make_lists_every_target_with_what_it_does() -> None:
    makefile = read("Makefile")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    for arguments in ([], ["help"]):
        printed = subprocess.run(
            ["/usr/bin/env", "make", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},  # not as a part of the make that runs these tests
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        assert {line.split()[0] for line in printed if len(line.split()) > 1} == set(phony[1].split())


def test_continuous_integration_names_every_set_of_others_data_that_a_test_reads() -> None:
    read_by_tests = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r'environ(?:\.get\(|\[)"([A-Z0-9]+_DIR)"', path.read_text(encoding="utf-8"))
    }
    assert read_by_tests <= set(re.findall(r"\b([A-Z0-9]+_DIR)=", read(".ci/run")))


def test_the_license_is_the_one_that_is_declared(project: dict[str, Any]) -> None:
    assert project["project"]["license"] == "Apache-2.0"
    text = read("LICENSE")
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.slow
def test_the_wheel_holds_every_data_file_and_runs_without_the_source(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("gateway", "clearing", "pnc", "sandbox"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    expected = {
        str(path.relative_to(source))
        for package in ("gateway", "clearing", "pnc", "sandbox")
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        assert expected - set(archive.namelist()) == set()
        archive.extractall(tmp_path / "installed")
    code = (
        "import gateway; from gateway.migrations import load_migrations; "
        "print(gateway.__file__, len(load_migrations()))"
    )
    places = [str(tmp_path / "installed"), sysconfig.get_path("purelib")]
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(places)},
    )
    place, count = result.stdout.split()
    assert place.startswith(str(tmp_path / "installed"))
    assert int(count) == len(list(ROOT.glob("*/sql/migrations/*.sql")))
