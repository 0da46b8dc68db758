"""Our own code beside the library that does the same job: how far results differ, and what the library costs in time.

`python -m benchmarks libraries` measures all of it; `docs/explanation.md` holds the table. A library is taken where it
says the same and takes at most 1.3 times as long in a hot path: a training step, or reading a scan.
"""
