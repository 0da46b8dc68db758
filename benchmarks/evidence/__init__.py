"""Is cross-phase learning worth its cost? The runs of `docs/benchmark.md`, one command for what is missing.

    python -m benchmarks evidence run       # everything in plan.yaml that is not done, in the background if you like
    python -m benchmarks evidence status    # what is done and what is not
    python -m benchmarks evidence table     # the result part of docs/benchmark.md from the stored results

Data, models and scores lie under the folder that the environment variable `CPMN_EVIDENCE` names (default
`results/benchmarks/evidence`); only tables and figures are stored under `benchmarks/results/evidence`. The rest is
made again from the seeds. A file `CORES` in that folder says how many jobs may run at once (default: all processors).
`plan.yaml` is read again before every job, so that runs and patients can be added while others are under way.
"""
