rule convert:
    input:
        scans=scans_of("nct", "ctpa"),
    output:
        nct="results/convert/{patient}/nct.nii.gz",
        nct_record="results/convert/{patient}/nct.json",
        ctpa=until_used("results/convert/{patient}/ctpa.nii.gz"),
        ctpa_record="results/convert/{patient}/ctpa.json",
        status="results/convert/{patient}/status.json",
    log:
        "logs/convert/{patient}.log",
    wildcard_constraints:
        patient=any_of(PAIRED),
    priority: 2
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.convert.stage"),
        patient=row_of("ctpa_mask", "nct_mask"),
        settings=CONFIG.convert.model_dump(mode="json"),
        scans=facts_of("nct", "ctpa"),
    script:
        "../scripts/convert.py"


use rule convert as convert_nct_alone with:
    output:
        nct="results/convert/{patient}/nct.nii.gz",
        nct_record="results/convert/{patient}/nct.json",
        status="results/convert/{patient}/status.json",
    wildcard_constraints:
        patient=any_of(NCT_ALONE),


use rule convert as convert_ctpa_alone with:
    output:
        ctpa=until_used("results/convert/{patient}/ctpa.nii.gz"),
        ctpa_record="results/convert/{patient}/ctpa.json",
        status="results/convert/{patient}/status.json",
    wildcard_constraints:
        patient=any_of(CTPA_ALONE),


# Before any training, by its priority and that of `convert`. No input of `train`: a new patient would repeat every
# training, or hide other reasons for one (see `track`).
rule check_cohort:
    input:
        records=collect("results/convert/{patient}/nct.json", patient=WITH_NCT)
        + collect("results/convert/{patient}/ctpa.json", patient=PAIRED + CTPA_ALONE),
    output:
        "results/convert/cohort.json",
    log:
        "logs/convert/cohort.log",
    priority: 2
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.checks.cohort"),
        cohort=[
            as_parameters(patient, include={"patient_id", "nct", "ctpa", "label", "group", "overrule"})
            for patient in COHORT.values()
        ],
    script:
        "../scripts/check_cohort.py"
