"""A cohort for the control `nct_only_truth`: exact labels instead of propagated ones, to see what label noise costs.

    python -m benchmarks.truth COHORT.csv DESTINATION.csv
    snakemake --cores 2 --directory RUN --config cohort=$PWD/DESTINATION.csv 'train={variants: [nct_only]}'

No stage but `evaluate` may read `nct_truth`. This control therefore is another cohort, which says openly that the truth
is its annotation: `nct_mask`, which replaces propagation, is set to `nct_truth`.
"""

import sys
from pathlib import Path

from cpmn.cohort.sheet import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, load_cohort
from cpmn.errors import CpmnError
from cpmn.files import write_table


def write_truth_cohort(cohort: Path, destination: Path) -> None:
    """Write `cohort` with `nct_truth` as `nct_mask` and absolute paths.

    Raises CpmnError if a PE patient has no `nct_truth`.
    """
    patients = load_cohort(cohort)
    if missing := [patient.patient_id for patient in patients if patient.label and not patient.nct_truth]:
        raise CpmnError(f"{cohort}: PE patients without nct_truth cannot serve this control: {', '.join(missing)}.")
    exact = [patient.model_copy(update={"nct_mask": patient.nct_truth}) for patient in patients]
    rows = [patient.model_dump() | {"overrule": " ".join(patient.overrule)} for patient in exact]
    write_table(destination, [*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS], rows)


if __name__ == "__main__":
    try:
        write_truth_cohort(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
    except CpmnError as error:
        sys.exit(str(error))
