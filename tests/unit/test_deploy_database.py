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


def test_the_cluster_keeps_every_address_and_is_distributed_before_anything_runs() -> None:
    single = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    cluster = yaml.safe_load((ROOT / "deploy/citus/docker-compose.yml").read_text(encoding="utf-8"))
    services, volumes = cluster["services"], cluster["volumes"]
    workers = sorted(name for name in services if name.startswith("citus-worker"))
    assert len(workers) == 2
    for name in ("postgres", *workers):
        assert services[name]["image"] == services["citus-nodes"]["image"]
        assert re.fullmatch(r"citusdata/citus:14\.\d+\.\d+", services[name]["image"])
        given = dict(part.split("=") for part in services[name]["command"] if part != "-c")
        assert int(given["max_prepared_transactions"]) >= int(given["max_connections"])
    for name in workers:
        data, *mounted = services[name]["volumes"]
        assert data.partition(":")[0] in volumes
        assert mounted == single["postgres"]["volumes"][1:]
        assert set(services[name]["secrets"]) == set(single["postgres"]["secrets"])
    assert services["citus-nodes"]["entrypoint"][2:] == ["postgres", *workers]
    assert services["migrate"]["depends_on"] == {
        "citus-nodes": {"condition": "service_completed_successfully"}
    }
    finished = {"condition": "service_completed_successfully"}
    assert services["distribute"]["depends_on"] == {"migrate": finished}
    assert all(services[name]["depends_on"] == {"distribute": finished} for name in ("gateway", "worker"))
    assert services["distribute"]["secrets"] == single["migrate"]["secrets"]
    script = ROOT / "deploy/citus/join-nodes.sh"
    assert script.stat().st_mode & 0o111
