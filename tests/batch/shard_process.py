"""A process that runs one part of a batch: ``shard_process.py FILE``, a pickled spec that its report replaces."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from coreclaw_async import run_shard

if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(pickle.dumps(run_shard(pickle.loads(path.read_bytes()))))
