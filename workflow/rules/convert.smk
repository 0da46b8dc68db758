rule convert:
    input:
        scans=scans_of("nct", "ctpa"),
        code=code_of("cpmn.convert.stage"),
    output:
        nct="results/convert/{patient}/nct.nii.gz",
        nct_record="results/convert/{patient}/nct.json",
        ctpa="results/convert/{patient}/ctpa.nii.gz",
        ctpa_record="results/convert/{patient}/ctpa.json",
        status="results/convert/{patient}/status.json",
    log:
        "logs/convert/{patient}.log",
    wildcard_constraints:
        patient=any_of(PAIRED),
    conda:
        "../envs/images.yaml"
    params:
        patient=row_of,
        settings=CONFIG.convert.model_dump(mode="json"),
        slices=slices_of,
    script:
        "../scripts/convert.py"


use rule convert as convert_nct_alone with:
    output:
        nct="results/convert/{patient}/nct.nii.gz",
        nct_record="results/convert/{patient}/nct.json",
        status="results/convert/{patient}/status.json",
    wildcard_constraints:
        patient=any_of(UNPAIRED),
