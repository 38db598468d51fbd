"""A TCP link that can be cut, stalled and made slow: put it between a client and a port of this machine.

with Link(port) as link:
    httpx.get(f"http://127.0.0.1:{link.port}/")
"""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType

PIECE = 16_384
# A small window, so that a stall is soon felt at the other end.
WINDOW = 32_768


class Link:
    """Passes bytes both ways; what comes from the server goes through `stall`, `delay_seconds` and `cut`."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay_seconds = 0.0
        """How much later each byte from the server arrives."""
        self._passes = threading.Event()
        self._passes.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._over = threading.Event()

    def __enter__(self) -> Link:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._passes.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def stall(self) -> None:
        """Take nothing more from the server, as a reader that hangs."""
        self._passes.clear()

    def flow(self) -> None:
        """Go on after a stall."""
        self._passes.set()

    def cut(self) -> None:
        """Reset the connections that are open, on both sides and without a goodbye."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            try:
                server.connect(("127.0.0.1", self._upstream))
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            late: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            for work in ((self._up, client, server), (self._down, server, late), (self._deliver, late, client)):
                threading.Thread(target=work[0], args=work[1:], daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(PIECE):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, late: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            self._passes.wait()
            try:
                data = server.recv(PIECE)
            except OSError:
                data = b""
            late.put((time.monotonic() + self.delay_seconds, data))

    def _deliver(self, late: queue.SimpleQueue[tuple[float, bytes]], client: socket.socket) -> None:
        with suppress(OSError):
            while True:
                due, data = late.get()
                # The link's delay itself: nobody waits for it to be over.
                self._over.wait(max(0.0, due - time.monotonic()))
                if not data:
                    client.shutdown(socket.SHUT_WR)
                    return
                client.sendall(data)
