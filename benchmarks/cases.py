"""What the benchmarks measure on: the seed of their phantom patients, and the real scans."""

import os
from pathlib import Path

SEED = 99  # none of the seeds that settings were chosen on
REAL_DATA = Path(os.environ.get("CPMN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
