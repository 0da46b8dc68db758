"""Measure the networks of `annotate` on CTPAs that each was trained without, and list whom to look at first.

Input: networks, crops that teach, records of those that were read. Output: metrics, a row per patient, the worklist.
"""

from pathlib import Path

from cpmn.annotate.stage import MEASURED, measure_patient, summarise, write_worklist
from cpmn.annotate.teachers import networks_of
from cpmn.config.annotate import AnnotateConfig
from cpmn.config.evaluate import device_of
from cpmn.files import write_json, write_table
from cpmn.job.logs import job_log
from cpmn.model.ensemble import load_folds

with job_log(snakemake.log[0], snakemake.params.get("code")):
    asked, out = snakemake.params, snakemake.output
    folder, config = Path(out.metrics).parent, AnnotateConfig.model_validate(asked.settings)
    folds = asked.readers["folds"]
    models = load_folds(folder, len(folds), device_of(snakemake.config))
    rows = []
    for name in asked.readers["teachers"]:
        crops, networks = folder / "crop" / name, networks_of(name, folds)
        if networks and (crops / "embolus.nii.gz").stat().st_size:  # empty of an excluded patient
            own = [models[number] for number in networks]
            rows.append(measure_patient(name, asked.labels[name], crops, own, config))
    write_table(out.patients, MEASURED, rows)
    write_json(out.metrics, summarise(rows) | {"networks": len(folds)})
    write_worklist([folder / name for name in asked.readers["worklist"]], Path(out.worklist))
