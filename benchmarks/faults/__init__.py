"""Seeded faults: damaged and hostile files, and a machine that fails. `python -m benchmarks faults`."""
