#!/usr/bin/python3
"""CUPS backend `socket`: sends a job to a raw port such as 9100 and waits until the printer closes the connection.

Debian keeps the stock one in the package `cups`; nodes need only `cups-daemon`. Where the stock one is missing, this
one stands in (see backend(7)). Run by the system's Python as the account lp, so it imports nothing of ours.

    socket JOB USER TITLE COPIES OPTIONS [FILE]      DEVICE_URI=socket://HOST[:PORT]

A printer that can't be reached is tried again for as long as it takes. A connection that breaks is a failure, after
which the queue's error policy decides (ours tries again). FILE is sent COPIES times; from standard input, filters
have made the copies already.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
import urllib.parse

OK, FAILED, STOP = 0, 1, 4
"""Exit codes of backend(7)."""
RETRY_SECONDS = 1.0
CONNECT_SECONDS = 10.0


def main() -> int:
    if len(sys.argv) == 1:
        print('network socket "Unknown" "AppSocket/HP JetDirect"')
        return OK
    device = urllib.parse.urlsplit(os.environ.get("DEVICE_URI", ""))
    if not device.hostname or len(sys.argv) < 6:
        tell("ERROR", f"DEVICE_URI names no host: {device.geturl()}")
        return STOP
    with connected(device.hostname, device.port or 9100) as printer:
        try:
            send(printer)
            await_close(printer)
        except OSError as error:
            tell("ERROR", f"The connection to the printer broke: {error.strerror}")
            return FAILED
    return OK


def connected(host: str, port: int) -> socket.socket:
    """A connection, however long it takes; people are told meanwhile."""
    waiting = False
    while True:
        try:
            made = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
            break
        except OSError as error:
            if not waiting:
                tell("STATE", "+connecting-to-device")
                tell("WARNING", f"The printer at {host}:{port} can't be reached: {error.strerror or error}")
                waiting = True
            time.sleep(RETRY_SECONDS)
    made.settimeout(None)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if waiting:
        tell("STATE", "-connecting-to-device")
    tell("INFO", "Sending data to printer.")
    return made


def send(printer: socket.socket) -> None:
    with printer.makefile("wb") as out:
        if len(sys.argv) < 7:
            shutil.copyfileobj(sys.stdin.buffer, out)
            return
        for _ in range(max(1, int(sys.argv[4]))):
            with open(sys.argv[6], "rb") as document:
                shutil.copyfileobj(document, out)


def await_close(printer: socket.socket) -> None:
    """The printer hangs up when it has taken everything; what it says meanwhile nobody here reads."""
    printer.shutdown(socket.SHUT_WR)
    while printer.recv(4096):
        pass


def tell(kind: str, text: str) -> None:
    print(f"{kind}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(OK))  # the job was cancelled
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
