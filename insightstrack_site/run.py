"""`make run`: the whole installation under one supervisor, from checks to the address on the console.

    check → services → prepare → web, workers, beat, demo feed → ready → … → stop

Ctrl-C or SIGTERM ends everything within ten seconds. The data stays under VAR_DIR.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from insightstrack_site import embedded, preflight, processes
from insightstrack_site.console import Console, last_lines
from insightstrack_site.preflight import StartRefusedError
from insightstrack_site.supervisor import Program, Supervisor

BASE_DIR = Path(__file__).resolve().parent.parent
SERVERS = ("daphne", "uvicorn")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
READY_WITHIN = 120.0  # seconds
FAILURES_ALLOWED = 3  # of one child before everything was ready once


@dataclass(frozen=True)
class Plan:
    """What to run, read from the environment."""

    var_dir: Path
    host: str
    port: int
    server: str
    demo: bool
    shards: int
    database_url: str | None
    redis_url: str | None
    source_threads: int = 32

    @classmethod
    def from_environment(cls) -> Plan:
        """Read the variables that the README's table lists under "running"; refuse what makes no sense."""
        server = os.environ.get("SERVER") or SERVERS[0]
        if server not in SERVERS:
            raise StartRefusedError(f"SERVER={server} is not known; choose one of: {', '.join(SERVERS)}")
        return cls(
            var_dir=Path(os.environ.get("VAR_DIR") or BASE_DIR / "var").absolute(),
            host=os.environ.get("HOST") or LOOPBACK[0],
            port=_number("PORT", 8000, largest=65_535),
            server=server,
            demo=os.environ.get("DEMO", "1").lower() not in ("0", "no", "false", ""),
            shards=_number("SHARDS", 2, largest=64),
            database_url=os.environ.get("DATABASE_URL") or None,
            redis_url=os.environ.get("REDIS_URL") or None,
            source_threads=_number("SOURCE_THREADS", 32, largest=1_000),
        )

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        return f"http://localhost:{self.port}/"

    @property
    def probe_url(self) -> str:
        """The readiness page, as this process reaches it."""
        host = {"0.0.0.0": LOOPBACK[0], "::": LOOPBACK[2]}.get(self.host, self.host)  # noqa: S104  only compared
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/readyz"


def _number(name: str, default: int, largest: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise StartRefusedError(f"{name}={text} is not a whole number from 1 to {largest}")
    return int(text)


def main() -> int:
    """Run until stopped; the exit code is 0 after an orderly stop."""
    console = Console()
    processes.adopt_orphans()
    try:
        plan = Plan.from_environment()
        with preflight.hold_lock(plan.var_dir, plan.url):
            return _run(plan, console)
    except (StartRefusedError, embedded.ServiceError) as refusal:
        console.say(str(refusal))
    except OSError as error:
        console.say(f"Cannot start: {error}")
    finally:
        processes.end_descendants()
    return 1


def _run(plan: Plan, console: Console) -> int:
    began = time.monotonic()
    preflight.check_port(plan.host, plan.port)
    check_given_services(plan, console)
    supervisor = Supervisor(console)
    try:
        environment = start_services(plan, supervisor)
        with published(plan, environment):
            greeting = prepare(plan, environment, supervisor)
            for program in programs(plan, environment):
                supervisor.add(program)
            if not wait_until_ready(plan, supervisor):
                return 0 if supervisor.stopping else 1
            greet(plan, greeting, console, time.monotonic() - began)
            supervisor.run_until(lambda: False)
            console.say("Stopping …")
    finally:
        supervisor.stop()
    console.say("Stopped; all data is kept.")
    return 0


def check_given_services(plan: Plan, console: Console) -> None:
    """Look at the servers that the user named before anything is started."""
    if plan.database_url:
        preflight.check_database(plan.database_url)
    if plan.redis_url:
        preflight.check_redis(plan.redis_url)
        if preflight.loses_answered_events(plan.redis_url):
            console.say("Warning: the Redis of REDIS_URL keeps no append-only file; a crash of it loses events.")
    if plan.host not in LOOPBACK:
        console.say(f"Note: HOST={plan.host} is open to the network; ALLOWED_HOSTS must name this machine.")


def start_services(plan: Plan, supervisor: Supervisor) -> dict[str, str]:
    """Start the embedded servers that the user did not replace; returns the environment for our programs."""
    services: dict[str, embedded.Service] = {}
    if plan.database_url is None:
        services["DATABASE_URL"] = embedded.Postgres(plan.var_dir)
    if plan.redis_url is None:
        services["REDIS_URL"] = embedded.Redis(plan.var_dir)
    for service in services.values():
        supervisor.add(service, is_service=True)
    for service in services.values():
        service.wait_until_ready()
    return {
        **os.environ,
        "DATABASE_URL": plan.database_url or "",
        "REDIS_URL": plan.redis_url or "",
        **{name: service.url for name, service in services.items()},
        "VAR_DIR": str(plan.var_dir),
        "PORT": str(plan.port),
        "SHARDS": str(plan.shards),
        "DJANGO_SETTINGS_MODULE": "insightstrack_site.settings",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def published(plan: Plan, environment: dict[str, str]) -> Iterator[None]:
    """While we run, let `manage.py` in other terminals find the services and the web server."""
    names = ("DATABASE_URL", "REDIS_URL", "PORT", "SHARDS")
    path = embedded.write_services(plan.var_dir, {name: environment[name] for name in names})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def prepare(plan: Plan, environment: dict[str, str], supervisor: Supervisor) -> list[str]:
    """Migrate, collect static files, make the first people; returns the lines to show at the end."""
    command = [sys.executable, "-m", "insightstrack_site.prepare"]
    command += ["--demo"] if plan.demo else []
    command += ["--alone"] if plan.redis_url is None else []
    # Its progress goes to our console, what it prints on stdout is kept for the greeting.
    with subprocess.Popen(  # noqa: S603  our own module
        command, env=environment, stdout=subprocess.PIPE, text=True, cwd=BASE_DIR
    ) as process:
        finished = supervisor.run_until(lambda: process.poll() is not None)
        if not finished:
            process.terminate()
        told, _ = process.communicate()
    if finished and process.returncode:
        raise StartRefusedError(f"Preparing the installation failed (exit code {process.returncode}); see above")
    return told.splitlines()


def programs(plan: Plan, environment: dict[str, str]) -> Iterator[Program]:
    """Our own processes, in the order in which they are worth starting."""
    celery = [sys.executable, "-m", "celery", "--app", "insightstrack_site", "--quiet"]
    pool = {"DATABASE_POOL": os.environ.get("DATABASE_POOL", "10")}

    def program(name: str, command: list[str], **more: str) -> Program:
        return Program(name, command, {**environment, **more}, BASE_DIR, plan.var_dir / "log" / f"{name}.log")

    def worker(name: str, queue: str, concurrency: int, pool: str = "prefork") -> list[str]:
        work = [*celery, "worker", "--pool", pool, "--concurrency", str(concurrency), "--queues", queue]
        return [*work, "--without-gossip", "--without-mingle", "--loglevel", "INFO", "--hostname", f"{name}@%h"]

    yield program("web", web_command(plan), **pool)
    yield program("consumers", worker("consumers", "consumers", 2 * plan.shards))
    yield program("beat", [*celery, "beat", "--schedule", str(plan.var_dir / "beat"), "--pidfile", ""])
    yield program("worker", worker("worker", "celery", 2))
    yield program("sources", worker("sources", "sources", plan.source_threads, "threads"), **pool)
    yield program("imports", worker("imports", "imports", 1))
    if plan.demo:
        yield program("demo", [sys.executable, str(BASE_DIR / "manage.py"), "demo_feed"])


def web_command(plan: Plan) -> list[str]:
    """The web server's command line: the same ASGI application under either server."""
    application = "insightstrack_site.asgi:application"
    address = ["--port", str(plan.port)]
    if plan.server == "uvicorn":
        quiet = ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
        return [sys.executable, "-m", "uvicorn", "--host", plan.host, *address, *quiet, application]
    return [sys.executable, "-m", "daphne", "--bind", plan.host, *address, "--verbosity", "0", application]


def wait_until_ready(plan: Plan, supervisor: Supervisor) -> bool:
    """Wait for `/readyz`; False (and the reason on the console) when it stays away or a child cannot live."""
    answer = "the web server does not answer"

    def settled() -> bool:
        nonlocal answer
        is_ready, answer = _readiness(plan.probe_url)
        return is_ready or supervisor.most_failures()[0] >= FAILURES_ALLOWED

    settled_in_time = supervisor.run_until(settled, READY_WITHIN)
    failures, child = supervisor.most_failures()
    if settled_in_time and (failures < FAILURES_ALLOWED or child is None):
        return True
    if supervisor.stopping:
        return False
    if child is not None and failures >= FAILURES_ALLOWED:
        supervisor.console.say(f"{child.name} cannot run; the end of {child.log}:")
        for line in last_lines(child.log):
            supervisor.console.say(f"  {line}")
    else:
        supervisor.console.say(f"Not ready within {READY_WITHIN:.0f} s: {answer}")
    return False


def _readiness(url: str) -> tuple[bool, str]:
    """Ask the readiness page: whether all is well, else what is not."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  http on this machine
            return response.status == 200, ""
    except urllib.error.HTTPError as error:
        with error:
            return False, _failed_checks(error.read())
    except OSError as error:
        return False, str(error)


def _failed_checks(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        return "; ".join(f"{name}: {check['reason']}" for name, check in checks.items() if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return "the readiness page is broken; see web.log"


def greet(plan: Plan, greeting: list[str], console: Console, seconds: float) -> None:
    """Say where it runs and how to get in."""
    console.say(f"InsightsTrack runs at {plan.url} (ready after {seconds:.1f} s)")
    for line in greeting:
        console.say(f"  {line}")
    console.say(f"  Data: {plan.var_dir}   Logs: {plan.var_dir / 'log'}   Stop: Ctrl-C")


if __name__ == "__main__":
    sys.exit(main())
