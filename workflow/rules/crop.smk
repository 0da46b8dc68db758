rule crop:
    input:
        nct="results/convert/{patient}/nct.nii.gz",
        ctpa_in_nct="results/register/{patient}/ctpa_in_nct.nii.gz",
        embolus="results/propagate/{patient}/embolus.nii.gz",
        upstream=[
            "results/convert/{patient}/status.json",
            "results/register/{patient}/status.json",
            "results/propagate/{patient}/status.json",
        ],
    output:
        nct="results/crop/{patient}/nct.nii.gz",
        ctpa="results/crop/{patient}/ctpa.nii.gz",
        embolus="results/crop/{patient}/embolus.nii.gz",
        lung="results/crop/{patient}/lung.nii.gz",
        box="results/crop/{patient}/crop.json",
        status="results/crop/{patient}/status.json",
    log:
        "logs/crop/{patient}.log",
    wildcard_constraints:
        patient=any_of(PAIRED),
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.crop.stage"),
        settings=CONFIG.crop.model_dump(mode="json"),
    script:
        "../scripts/crop.py"


use rule crop as crop_nct_alone with:
    input:
        nct="results/convert/{patient}/nct.nii.gz",
        embolus="results/propagate/{patient}/embolus.nii.gz",
        upstream=[
            "results/convert/{patient}/status.json",
            "results/propagate/{patient}/status.json",
        ],
    output:
        nct="results/crop/{patient}/nct.nii.gz",
        embolus="results/crop/{patient}/embolus.nii.gz",
        lung="results/crop/{patient}/lung.nii.gz",
        box="results/crop/{patient}/crop.json",
        status="results/crop/{patient}/status.json",
    wildcard_constraints:
        patient=any_of(NCT_ALONE),


# A job of its own, so that a cohort without vessel masks has none, and new masks cut and train nothing again.
rule crop_vessels:
    input:
        nct="results/convert/{patient}/nct.nii.gz",
        crop="results/crop/{patient}/nct.nii.gz",
        vessels=scans_of("vessels"),
        upstream=["results/crop/{patient}/status.json"],
    output:
        vessels="results/crop/{patient}/vessels.nii.gz",
        status="results/crop/{patient}/vessels.json",
    log:
        "logs/crop/{patient}-vessels.log",
    wildcard_constraints:
        patient=any_of(MASKED),
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.crop.artery_vein"),
        vessels=vessels_of,
        mask=facts_of("vessels"),
    script:
        "../scripts/crop_vessels.py"
