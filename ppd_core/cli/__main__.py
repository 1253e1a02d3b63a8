"""`python -m ppd_core.cli`: the same as `ppd`."""

from __future__ import annotations

import sys

from ppd_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
