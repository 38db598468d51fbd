"""What can be known before anything starts: each check passes, or refuses with one line for the console."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psycopg
import redis

OLDEST_POSTGRES = 16
OLDEST_REDIS = (6, 2)
UNREADABLE = (
    "DATABASE_URL cannot be read; special characters in it must be percent-encoded: "
    "postgresql://user:password@host:port/name"
)


class StartRefusedError(Exception):
    """The installation cannot start; the message is one line that says what to do."""


def hold_lock(var_dir: Path, url: str) -> IO[str]:
    """Claim `var_dir` for this process while the returned file stays open.

    Raises StartRefusedError when a running supervisor holds it. The lock ends with its process, in any case.
    """
    var_dir.mkdir(parents=True, exist_ok=True)
    lock = (var_dir / "run.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise StartRefusedError(_already_running(lock.read(), var_dir)) from None
    lock.truncate(0)
    json.dump({"pid": os.getpid(), "url": url}, lock)
    lock.flush()
    return lock


def _already_running(holder: str, var_dir: Path) -> str:
    try:
        told = json.loads(holder)
        where = f"at {told['url']} (process {told['pid']})"
    except (ValueError, KeyError, TypeError):  # it has only just started
        where = "here"
    return (
        f"InsightsTrack already runs {where} on the data in {var_dir}. "
        "Stop it with Ctrl-C, or give a second one its own VAR_DIR and PORT."
    )


def check_port(host: str, port: int) -> None:
    """Refuse when the web server could not listen on `host:port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise StartRefusedError(f"Port {port} may not be used by this user; choose one: PORT=8000") from None
        except OSError as error:
            if error.errno in (98, 48):  # EADDRINUSE on Linux, on macOS
                message = f"Port {port} is used by another program; choose another one: make run PORT={port + 1}"
                raise StartRefusedError(message) from None
            raise StartRefusedError(f"Cannot listen on HOST={host}: {error.strerror or error}") from None


def check_database(url: str) -> None:
    """Refuse a DATABASE_URL that is malformed, unreachable, or leads to a PostgreSQL that is too old."""
    if urlsplit(url).scheme not in ("postgres", "postgresql"):
        raise StartRefusedError("DATABASE_URL is not of the form postgresql://user:password@host:port/name")
    if url.count("@") > 1:  # a part of the password would be taken for the host, and shown
        raise StartRefusedError(UNREADABLE)
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.ProgrammingError:  # its message can quote the password
        raise StartRefusedError(UNREADABLE) from None
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise StartRefusedError(f"The database of DATABASE_URL does not answer: {reason}") from None
    if version < OLDEST_POSTGRES:
        needed = f"InsightsTrack needs {OLDEST_POSTGRES} or newer"
        raise StartRefusedError(f"The database of DATABASE_URL is PostgreSQL {version}; {needed}")


def check_redis(url: str) -> None:
    """Refuse a REDIS_URL that is malformed, unreachable, or leads to a Redis that is too old."""
    try:
        client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, decode_responses=True)
    except ValueError:
        raise StartRefusedError("REDIS_URL is not of the form redis://user:password@host:port/0") from None
    try:
        with client:
            info = client.info("server")
    except redis.RedisError as error:
        if "HELLO must be called" in str(error) or "NOAUTH" in str(error):
            raise StartRefusedError("The Redis of REDIS_URL wants a password: redis://:password@host:port/0") from None
        raise StartRefusedError(f"The Redis of REDIS_URL does not answer: {error}") from None
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        needed = ".".join(map(str, OLDEST_REDIS))
        raise StartRefusedError(f"The Redis of REDIS_URL is version {version}; InsightsTrack needs {needed} or newer")


def loses_answered_events(url: str) -> bool:
    """Tell whether a crash of this Redis could lose events that were answered 202 (no append-only file)."""
    with redis.Redis.from_url(url, socket_timeout=5, decode_responses=True) as client:
        try:
            return bool(client.config_get("appendonly").get("appendonly") == "no")
        except redis.RedisError:  # a hosted Redis may not tell
            return False
