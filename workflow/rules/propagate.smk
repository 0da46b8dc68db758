rule propagate:
    input:
        nct="results/convert/{patient}/nct.nii.gz",
        ctpa="results/convert/{patient}/ctpa.nii.gz",
        affine="results/register/{patient}/affine.mat",
        warp="results/register/{patient}/warp.nii.gz",
        masks=scans_of("ctpa_mask", "nct_mask"),
        annotated=annotated_of,
        annotate_status=annotate_status_of,
        upstream=[
            "results/convert/{patient}/status.json",
            "results/register/{patient}/status.json",
        ],
    output:
        embolus="results/propagate/{patient}/embolus.nii.gz",
        status="results/propagate/{patient}/status.json",
    log:
        "logs/propagate/{patient}.log",
    wildcard_constraints:
        patient=any_of(PAIRED),
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.propagate.stage"),
        patient=row_of(),
        masks=facts_of("ctpa_mask", "nct_mask"),
        settings=CONFIG.propagate.model_dump(mode="json"),
        unannotated=CONFIG.train.unannotated,
    script:
        "../scripts/propagate.py"


use rule propagate as propagate_nct_alone with:
    input:
        nct="results/convert/{patient}/nct.nii.gz",
        masks=scans_of("nct_mask"),
        upstream=["results/convert/{patient}/status.json"],
    wildcard_constraints:
        patient=any_of(NCT_ALONE),
