"""The process in which pycups runs: reads a request from standard input, prints one answer, ends.

{"server": {host or socket, port, user, tls}, "calls": [[method, arguments, options], …]}
-> {"results": […]}  or  {"error": text, "kind": "refused|unreachable|wrong", "status": IPP status}
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from typing import Any

import cups


def main() -> None:
    request = json.load(sys.stdin)
    json.dump(_answer(request["server"], request["calls"]), sys.stdout, default=str)


def _answer(server: dict[str, Any], calls: list[Any]) -> dict[str, Any]:
    try:
        connection = _connect(server)
        return {"results": [getattr(connection, name)(*given, **named) for name, given, named in calls]}
    except cups.HTTPError as error:
        code = int(error.args[0])
        kind = "refused" if code in (401, 403, 426) else "unreachable"
        return {"error": f"HTTP status {code}", "kind": kind, "status": 0}
    except cups.IPPError as error:
        status, text = error.args
        # libcups tells of a broken connection with an IPP status of its own (cups/ipp.h: 0x500 and above 0x502).
        return {"error": str(text), "kind": "refused", "status": int(status)}
    except RuntimeError as error:
        return {"error": str(error), "kind": "unreachable", "status": 0}
    except (TypeError, AttributeError, ValueError) as error:
        return {"error": str(error), "kind": "wrong", "status": 0}


def _connect(server: dict[str, Any]) -> Any:
    over_socket = server["host"].startswith("/")
    # Over a socket libcups proves who it is only under the name of the account that it runs as.
    cups.setUser(pwd.getpwuid(os.geteuid()).pw_name if over_socket else server["user"])
    cups.setPasswordCB(lambda prompt: "")  # gives up; without a callback pycups asks on the terminal
    encryption = cups.HTTP_ENCRYPT_REQUIRED if server["tls"] else cups.HTTP_ENCRYPT_IF_REQUESTED
    cups.setEncryption(encryption)
    return cups.Connection(host=server["host"], port=server["port"], encryption=encryption)


if __name__ == "__main__":
    main()
