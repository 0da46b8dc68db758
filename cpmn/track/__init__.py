"""Records of runs in MLflow.

`history.csv` and `metrics.json` are the truth; MLflow holds a copy. Every call here may fail without harm: a failure
is logged, and the next job that gets through, or `cpmn track sync`, sends what was not sent. Runs are found by their
names and tags, so that sending twice changes nothing and a resumed training goes on with its own run.

One experiment per cohort; a parent run per state of configuration, data and code; below it one run per variant, which
holds the final figures, and below that one per fold, which holds the curves and the model. Each evaluated variant is a
version of the registered model `cpmn-{cohort}`.

Importing this package loads no MLflow: that happens at the first call.
"""

from cpmn.track.live import LiveFold
from cpmn.track.parent import current_track, run_tags, start_parent, track_of
from cpmn.track.server import attempt, harmless
from cpmn.track.sync import flatten_metrics, sync_fold, sync_report, sync_results, sync_variant

__all__ = [
    "LiveFold",
    "attempt",
    "current_track",
    "flatten_metrics",
    "harmless",
    "run_tags",
    "start_parent",
    "sync_fold",
    "sync_report",
    "sync_results",
    "sync_variant",
    "track_of",
]
