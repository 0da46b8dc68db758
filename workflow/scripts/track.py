"""Start the parent run in MLflow before any training: `results/track.json`.

Without a working MLflow the file says so, and everything else goes on.
"""

from pathlib import Path

import cpmn
from cpmn.config.root import load_config
from cpmn.files import read_json, sha256_of_files, sha256_of_json, write_json
from cpmn.logs import job_log
from cpmn.tracking import code_version, harmless, start_parent, tracking_uri

with job_log(snakemake.log[0]):
    config = load_config(snakemake.params.config)
    masks = [row[key] for row in snakemake.params.cohort for key in ("ctpa_mask", "nct_mask") if row[key]]
    sources = [
        read_json(path).get("source_sha256", "") for path in snakemake.input.records if Path(path).stat().st_size
    ]
    labels = [[row["patient_id"], row["label"], row["split"], row["group"]] for row in snakemake.params.cohort]
    tags = {
        "cohort": snakemake.params.name,
        "difficulty": config.phantom.difficulty if config.cohort is None else "",
        "data_hash": sha256_of_json([labels, sources, sha256_of_files(p for p in masks if Path(p).is_file())]),
        "config_hash": sha256_of_json(snakemake.params.config),
        "commit": code_version(Path(cpmn.__file__).parent),
        "version": cpmn.__version__,
    }
    record = {
        **tags,
        "uri": tracking_uri(config.track.uri),
        "experiment": snakemake.params.name,
        "run_id": None,
        "variants": snakemake.params.variants,
        "config": snakemake.params.config,
    }
    if config.track.enabled:
        with harmless("starting a run"):
            record |= start_parent(record["uri"], record["experiment"], tags, snakemake.params.config)
    write_json(snakemake.output[0], record)
