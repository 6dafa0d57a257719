#!/usr/bin/python3 -IS
"""NODE/bin/backend/cupsfleet: starts controller.costs.backend, which lies compiled in NODE/bin/python."""

import os
import sys

NODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(NODE, "bin", "python"))

if __name__ == "__main__":
    from controller.costs.backend import main

    sys.exit(main(NODE))
