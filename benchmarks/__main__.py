"""Run the benchmarks whose table is not stored yet, store and print them: `python -m benchmarks [NAME ...]`.

Named benchmarks run again, and they alone. Tables stand in `benchmarks/results/NAME.csv`.
"""

import sys
from pathlib import Path

import pandas as pd

from benchmarks import (
    convert,
    cost,
    crop,
    facts,
    limits,
    masks,
    observer,
    odd_dicom,
    outline,
    phantom,
    phantom_real,
    propagate,
    quality,
    reading,
    register,
    slices,
    train,
)
from benchmarks.faults import measure as faults
from benchmarks.libraries import measure as libraries

RESULTS = Path(__file__).parent / "results"
BENCHMARKS = {
    "phantom": phantom.measure,
    "phantom_real": phantom_real.measure,
    "convert": convert.measure,
    "odd_dicom": odd_dicom.measure,
    "facts": facts.measure,
    "slices": slices.measure,
    "masks": masks.measure,
    "faults": faults.measure,
    "register": register.measure,
    "quality": quality.measure,
    "propagate": propagate.measure,
    "crop": crop.measure,
    "limits": limits.measure,
    "observer": observer.measure,
    "outline": outline.measure,
    "cost": cost.measure,
    "reading": reading.measure,
    "train": train.measure,
    "libraries": libraries.measure,
}


def main(names: list[str]) -> None:
    """Run what is named, or else what is missing; print the tables of what is named, or else of all."""
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    for name in names or BENCHMARKS:
        table = RESULTS / f"{name}.csv"
        if name in names or not table.is_file():
            print(f"{name}: running", flush=True)
            RESULTS.mkdir(exist_ok=True)
            rows = []
            for row in BENCHMARKS[name]():  # stored as they come: some take minutes each
                rows.append(row)
                pd.DataFrame(rows).to_csv(table, index=False)
        print(f"\n{name}\n{pd.read_csv(table).to_string(index=False)}")


if __name__ == "__main__":
    main(sys.argv[1:])
