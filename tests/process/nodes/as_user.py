"""Run as an ordinary user by test_process.py: STATE DEVICE. Starts a node, prints a page, removes it."""

import subprocess
import sys
import time
from pathlib import Path

from controller.nodes import proof, queues
from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from tests.process.fleet import free_port

state, device = Path(sys.argv[1]), sys.argv[2]
driver = ProcessDriver()
spec = NodeSpec("n1", 1, 1_000_001, "127.0.0.1", free_port(), state / "n1")
driver.start(spec)
try:
    queues.declare(spec.host, spec.port, driver.token(spec), [queues.Queue("office", device)], 5)
    proof.prove(driver, spec, "office")
    server = f"127.0.0.1:{spec.port}"
    subprocess.run(["lp", "-h", server, "-d", "office"], input=b"printed by nobody\n", check=True)
    for _ in range(600):
        if not subprocess.check_output(["lpstat", "-h", server, "-o"]):
            break
        time.sleep(0.05)
finally:
    driver.remove(spec)
