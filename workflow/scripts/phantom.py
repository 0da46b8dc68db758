"""Write one phantom patient.

Output: `data/phantom/{patient}`: DICOM of both phases, clot labels, the exact motion.
"""

from pathlib import Path

from cpmn.config.phantom import PhantomConfig
from cpmn.job.logs import job_log
from cpmn.phantom.stage import write_patient

with job_log(snakemake.log[0], snakemake.params.get("code")):
    config = PhantomConfig.model_validate(snakemake.params.settings)
    write_patient(config, snakemake.wildcards.patient, Path(snakemake.output[0]))
