"""What anybody can do who may write to Redis, or whose input comes to us: and what comes of it.

``CRAWLO_TEST_FUZZ=20`` makes the long runs so many times as long.
"""

from __future__ import annotations

import os

#: How many times as long the long runs are.
LONGER = int(os.environ.get("CRAWLO_TEST_FUZZ", "1"))
