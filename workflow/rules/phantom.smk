rule phantom:
    output:
        directory("data/phantom/{patient}"),
    log:
        "logs/phantom/{patient}.log",
    wildcard_constraints:
        patient="|".join(PATIENTS),
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.phantom.stage"),
        settings=CONFIG.phantom.model_dump(mode="json", exclude={"patients", "reported"}),
    script:
        "../scripts/phantom.py"


rule phantom_cohort:
    input:
        collect("data/phantom/{patient}", patient=PATIENTS if CONFIG.cohort is None else []),
    output:
        "data/phantom/cohort.csv",
    log:
        "logs/phantom/cohort.log",
    conda:
        "../envs/images.yaml"
    params:
        settings=CONFIG.phantom.model_dump(mode="json"),
    script:
        "../scripts/phantom_cohort.py"
