"""Three nodes of Patroni on the loopback interface, configured by the file that we ship.

Owns: which lines of deploy/patroni/patroni.yml are replaced (addresses, programs, the store, the archive, the
watchdog, TLS), and how the nodes are started, asked and killed. Must not know: what is stored. The store is
Patroni's own Raft, which needs no server beside the nodes.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import asyncpg
import yaml

from sandbox.postgres.files import binaries, server_files, server_user

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = ROOT / "deploy" / "patroni" / "patroni.yml"
_READY_S: Final = 120.0
_BEHIND: Final = """
    SELECT count(*) < 2 OR bool_or(replay_lsn < pg_current_wal_lsn()) FROM pg_stat_replication
"""


@dataclass(slots=True, kw_only=True)
class Node:
    """One node: Patroni and the PostgreSQL that it runs."""

    name: str
    port: int
    api_port: int
    raft_port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def status(self) -> dict[str, Any]:
        """What the node says of itself; empty where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}/patroni", timeout=2) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError):
            return {}

    def kill(self) -> None:
        """Kill Patroni and its server at once, as a machine that loses its power."""
        if self.process is None:
            return
        for pid in (self.process.pid, *self._servers()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None
        if self.log is not None:
            self.log.close()

    def _servers(self) -> list[int]:
        try:
            return [int((self.folder / "data" / "postmaster.pid").read_text().split()[0])]
        except (OSError, ValueError, IndexError):
            return []


class PatroniCluster:
    """Three nodes as a supervisor's server that is never restarted by it."""

    name = "PostgreSQL under Patroni"

    def __init__(self, folder: Path, *, patroni: Path) -> None:
        self._folder = folder
        self._patroni = patroni
        ports = _free_ports(9)
        self.nodes = [
            Node(
                name=f"db{number + 1}",
                port=ports[3 * number],
                api_port=ports[3 * number + 1],
                raft_port=ports[3 * number + 2],
                folder=folder / f"db{number + 1}",
            )
            for number in range(3)
        ]
        self._running = False

    @property
    def dsn(self) -> str:
        """All three in one address, as DATABASE_URL names them."""
        hosts = ",".join(node.address for node in self.nodes)
        return f"postgresql://networkcore:secret@{hosts}/networkcore?target_session_attrs=primary"

    @property
    def log_path(self) -> Path:
        return self.nodes[0].folder / "patroni.log"

    @property
    def pid(self) -> int | None:
        return self.nodes[0].process.pid if self.nodes[0].process is not None else None

    @property
    def running(self) -> bool:
        return self._running

    def start(self) -> None:
        """Start all nodes, wait for a leader with a synchronous standby, and create the database."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o755)
        user = server_user()
        programs = binaries(server_files(self._folder / "programs"), user=user)
        for node in self.nodes:
            node.folder.mkdir(mode=0o755)
            (node.folder / "archive").mkdir()
            if user.dropped:
                for path in (node.folder, node.folder / "archive"):
                    shutil.chown(path, user.uid, user.gid)
            text = yaml.safe_dump(self._configuration(node, programs), sort_keys=False)
            (node.folder / "patroni.yml").write_text(text, encoding="utf-8")
        for node in self.nodes:
            self.start_node(node)
        self.wait(lambda: self.leader() is not None and len(self.synchronous()) == 1)
        asyncio.run(self._create_database())
        self._running = True

    def start_node(self, node: Node) -> None:
        """Start one node's Patroni, as the server's user."""
        user = server_user()
        if node.log is None:
            node.log = (node.folder / "patroni.log").open("ab")
        identity: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []}
        node.process = subprocess.Popen(
            [str(self._patroni), str(node.folder / "patroni.yml")],
            stdout=node.log,
            stderr=node.log,
            env={
                "PATH": os.defpath,
                "LC_ALL": "C",
                "PATRONI_SUPERUSER_PASSWORD": "super",
                "PATRONI_REPLICATION_PASSWORD": "copy",
                "PATRONI_REWIND_PASSWORD": "rewind",
            },
            **(identity if user.dropped else {}),
        )

    def stop(self) -> None:
        self._running = False
        for node in self.nodes:
            node.stop()

    def leader(self) -> Node | None:
        """The node that takes writes now."""
        found = [
            node
            for node in self.nodes
            if node.process is not None
            and (said := node.status()).get("role") in {"primary", "master"}
            and said.get("state") == "running"
        ]
        return found[0] if len(found) == 1 else None

    def synchronous(self) -> list[str]:
        """The names of the synchronous standbys, as the leader has them."""
        leader = self.leader()
        said = {} if leader is None else leader.status()
        return [one["application_name"] for one in said.get("replication", []) if one["sync_state"] == "sync"]

    def wait(self, condition: Any, seconds: float = _READY_S) -> None:
        """Wait until a condition holds. Raises TimeoutError with the ends of the logs."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError("\n".join(self._ends()))
            time.sleep(0.2)

    def _ends(self) -> list[str]:
        return [
            f"{node.name}: {(node.folder / 'patroni.log').read_text(errors='replace')[-1500:]}"
            for node in self.nodes
            if (node.folder / "patroni.log").exists()
        ]

    def _configuration(self, node: Node, programs: Path) -> dict[str, Any]:
        """The shipped file with this machine's places in it."""
        shipped: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        shipped["name"] = node.name
        shipped["restapi"] = {
            "listen": f"127.0.0.1:{node.api_port}",
            "connect_address": f"127.0.0.1:{node.api_port}",
        }
        del shipped["etcd3"]
        shipped["raft"] = {
            "data_dir": str(node.folder / "raft"),
            "self_addr": f"127.0.0.1:{node.raft_port}",
            "partner_addrs": [f"127.0.0.1:{one.raft_port}" for one in self.nodes if one is not node],
        }
        shared = shipped["bootstrap"]["dcs"]["postgresql"]
        archive = self._folder / node.name / "archive"
        shared["parameters"]["archive_command"] = f"cp %p {archive}/%f"
        shared["recovery_conf"]["restore_command"] = f"cp {archive}/%f %p"
        shared["parameters"]["max_connections"] = 100
        own = shipped["postgresql"]
        own |= {
            "listen": node.address,
            "connect_address": node.address,
            "data_dir": str(node.folder / "data"),
            "bin_dir": str(programs),
            "pgpass": str(node.folder / "pgpass"),
        }
        own["parameters"] = {
            name: value for name, value in own.get("parameters", {}).items() if not name.startswith("ssl")
        } | {"unix_socket_directories": str(node.folder)}
        for credentials in own["authentication"].values():
            credentials.pop("sslmode", None)
        here = {"hostssl": "host", "10.0.0.0/8": "127.0.0.0/8", "peer": "scram-sha-256"}
        own["pg_hba"] = [" ".join(here.get(word, word) for word in line.split()) for line in own["pg_hba"]]
        shipped["watchdog"] = {"mode": "off"}
        return shipped

    async def _create_database(self) -> None:
        leader = self.leader()
        assert leader is not None
        connection = await asyncpg.connect(
            host=str(leader.folder), port=leader.port, user="postgres", password="super", database="postgres"
        )
        try:
            await connection.execute("CREATE ROLE networkcore LOGIN PASSWORD 'secret'")
            await connection.execute("CREATE DATABASE networkcore OWNER networkcore")
            while await connection.fetchval(_BEHIND):
                await asyncio.sleep(0.05)  # a standby that does not know the database yet refuses the address
        finally:
            await connection.close()


def _free_ports(count: int) -> list[int]:
    opened = [socket.socket() for _ in range(count)]
    try:
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in opened]
    finally:
        for one in opened:
            one.close()
