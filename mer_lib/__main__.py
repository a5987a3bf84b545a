"""`python -m mer_lib`: see `mer_lib.cli`."""

from __future__ import annotations

import sys

from mer_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
