rule track:
    input:
        records=collect("results/convert/{patient}/nct.json", patient=PATIENTS)
        + collect("results/convert/{patient}/ctpa.json", patient=PAIRED),
        code=code_of("cpmn.train.stage"),
    output:
        "results/track.json",
    log:
        "logs/track.log",
    conda:
        "../envs/track.yaml"
    params:
        cohort=[patient.model_dump(mode="json") for patient in COHORT.values()],
        name=cohort_name(),
        variants={name: {**variant_record(name), "settings": settings_of(name)} for name in VARIANTS},
        config=CONFIG.model_dump(mode="json", by_alias=True, exclude={"report"}),
    script:
        "../scripts/track.py"
