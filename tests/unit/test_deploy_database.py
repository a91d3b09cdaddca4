"""The configurations of the database that are shipped hold what the guides say."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_patroni_loses_no_answered_request_and_archives_its_log() -> None:
    node = yaml.safe_load((ROOT / "deploy/patroni/patroni.yml").read_text(encoding="utf-8"))
    dcs = node["bootstrap"]["dcs"]
    assert dcs["synchronous_mode"] is True
    assert dcs["synchronous_mode_strict"] is True
    parameters = dcs["postgresql"]["parameters"]
    assert parameters["synchronous_commit"] in {"on", "remote_apply"}
    assert parameters["archive_mode"] == "on"
    assert node["watchdog"]["mode"] == "required"
    # Patroni's rule: a leader must be able to renew its lock before it ends.
    assert dcs["ttl"] >= dcs["loop_wait"] + 2 * dcs["retry_timeout"]


def test_the_guides_name_the_files_that_are_shipped() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/operations").glob("*.md"))
    named = set(re.findall(r"deploy/(?:helm|patroni|pgbouncer)[\w./-]*\w", pages))
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []
