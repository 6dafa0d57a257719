#!/usr/bin/python3
"""A CUPS backend `socket` for tests, as Debian's cups-daemon alone has none: sends, waits for the printer's close."""

import os
import socket
import sys
import time
import urllib.parse

if len(sys.argv) == 1:
    print('network socket "Unknown" "A raw socket"')
    sys.exit(0)
device = urllib.parse.urlsplit(os.environ["DEVICE_URI"])
while True:
    try:
        connection = socket.create_connection((device.hostname, device.port))
        break
    except OSError:
        time.sleep(0.1)
with open(sys.argv[6], "rb") if len(sys.argv) > 6 else sys.stdin.buffer as document:
    connection.sendfile(document) if len(sys.argv) > 6 else connection.sendall(document.read())
connection.shutdown(socket.SHUT_WR)
while connection.recv(4096):
    pass
print("PAGE: total 1", file=sys.stderr)
