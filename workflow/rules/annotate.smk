# What the networks see of the CTPAs that teach: outlined ones, those without PE, and those without an NCT.
rule annotate_crop:
    input:
        ctpa="results/convert/{patient}/ctpa.nii.gz",
        nct=nct_of_pair,
        masks=scans_of("ctpa_mask"),
        upstream=["results/convert/{patient}/status.json"],
    output:
        ctpa="results/annotate/crop/{patient}/ctpa.nii.gz",
        embolus="results/annotate/crop/{patient}/embolus.nii.gz",
        lung="results/annotate/crop/{patient}/lung.nii.gz",
        box="results/annotate/crop/{patient}/crop.json",
        status="results/annotate/crop/{patient}/status.json",
    log:
        "logs/annotate/crop-{patient}.log",
    wildcard_constraints:
        patient=any_of(PAIRED + CTPA_ALONE),
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.annotate.crops"),
        patient=row_of(),
        masks=facts_of("ctpa_mask"),
        settings=CONFIG.crop.model_dump(mode="json"),
        unannotated=CONFIG.train.unannotated,
    script:
        "../scripts/annotate_crop.py"


rule annotate_train:
    input:
        crops=collect(
            "results/annotate/crop/{patient}/{file}",
            patient=READERS["teachers"],
            file=["status.json", "ctpa.nii.gz", "embolus.nii.gz", "lung.nii.gz"],
        ),
    output:
        model="results/annotate/fold-{fold}/model.safetensors",
        plan="results/annotate/fold-{fold}/plan.json",
        history="results/annotate/fold-{fold}/history.csv",
    log:
        "logs/annotate/fold-{fold}.log",
    priority: 3  # the patients that it outlines are waited for
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.train.launch", "cpmn.train.__main__", "cpmn.config.annotate"),
        patients=annotate_fold_of,
        labels={name: COHORT[name].label for name in READERS["teachers"]},
        settings=CONFIG.annotate.training(CONFIG.train.machine).model_dump(mode="json"),
    script:
        "../scripts/annotate_train.py"


rule annotate:
    input:
        ctpa="results/convert/{patient}/ctpa.nii.gz",
        scan=scans_of("ctpa"),
        facts="results/convert/{patient}/ctpa.json",
        networks=collect("results/annotate/fold-{fold}/model.safetensors", fold=range(len(READERS["folds"]))),
        plans=read_apart("results/annotate/fold-{fold}/plan.json", fold=range(len(READERS["folds"]))),
        upstream=["results/convert/{patient}/status.json"],
    output:
        embolus="results/annotate/{patient}/embolus.nii.gz",
        probability="results/annotate/{patient}/probability.nii.gz",
        picture=report(
            "results/annotate/{patient}/picture.png",
            caption="../report/annotate.rst",
            category="Outlines by annotate",
            labels={"patient": "{patient}"},
        ),
        record="results/annotate/{patient}/annotate.json",
        status="results/annotate/{patient}/status.json",
    log:
        "logs/annotate/{patient}.log",
    wildcard_constraints:
        patient=any_of(READERS["read"]),
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.annotate.stage"),
        patient=row_of(),
        scan=facts_of("ctpa"),
        settings=CONFIG.annotate.model_dump(mode="json"),
        crop=CONFIG.crop.model_dump(mode="json"),
        convert=CONFIG.convert.model_dump(mode="json"),
    script:
        "../scripts/annotate.py"


# How good the networks are, on the CTPAs that each was trained without; and whom a radiologist should look at first.
rule annotate_summary:
    input:
        records=collect("results/annotate/{patient}/annotate.json", patient=READERS["read"]),
        networks=collect("results/annotate/fold-{fold}/model.safetensors", fold=range(len(READERS["folds"]))),
        crops=collect("results/annotate/crop/{patient}/embolus.nii.gz", patient=READERS["teachers"]),
        plans=read_apart("results/annotate/fold-{fold}/plan.json", fold=range(len(READERS["folds"]))),
        images=read_apart("results/annotate/crop/{patient}/ctpa.nii.gz", patient=READERS["teachers"]),
    output:
        metrics="results/annotate/metrics.json",
        patients="results/annotate/patients.csv",
        worklist=report(
            "results/annotate/worklist.csv",
            caption="../report/worklist.rst",
            category="Outlines by annotate",
            labels={"patient": "all"},
        ),
    log:
        "logs/annotate/summary.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.annotate.stage", "cpmn.annotate.teachers", "cpmn.model.ensemble"),
        readers=READERS,
        labels={name: COHORT[name].label for name in READERS["teachers"]},
        settings=CONFIG.annotate.model_dump(mode="json"),
    script:
        "../scripts/annotate_summary.py"
