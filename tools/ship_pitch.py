"""Track the pitch of the shipped corpora and keep it in data/pitch: `make duet` does it after drawing them.

python tools/ship_pitch.py duet-i duet-m duet-x
"""

from __future__ import annotations

import sys
from pathlib import Path

from mer_lib import corpora
from mer_lib.features.pitch import ship

if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(ship(corpora.load(name), Path(__file__).resolve().parents[1] / "data" / "pitch"))
