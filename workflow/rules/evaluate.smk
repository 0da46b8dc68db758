rule evaluate:
    input:
        models=collect("results/train/{{variant}}/fold-{fold}/model.safetensors", fold=range(len(FOLDS))),
        splits="results/train/splits.json",
        crops=crops_of(SCORED),
        qualities=qualities_of(SCORED),
        native=collect("results/convert/{patient}/nct.nii.gz", patient=SCORED),
        facts=collect("results/convert/{patient}/nct.json", patient=SCORED),
        boxes=collect("results/crop/{patient}/crop.json", patient=SCORED),
        labels=collect("results/propagate/{patient}/embolus.nii.gz", patient=SCORED),
        references=references,
        plans=read_apart(
            "results/train/{{variant}}/fold-{fold}/{file}",
            fold=range(len(FOLDS)),
            file=["plan.json", "history.csv"],
        ),
        trained=read_apart("results/{file}", file=[f for name in PATIENTS for f in records_of(name)]),
        vessels=collect(
            "results/crop/{patient}/vessels.nii.gz", patient=[name for name in SCORED if name in MASKED]
        ),
    output:
        metrics="results/evaluate/{variant}/metrics.json",
        patients=report(
            "results/evaluate/{variant}/patients.csv",
            caption="../report/patients.rst",
            category="Evaluation",
            labels={"variant": "{variant}", "table": "patients"},
        ),
        decision="results/evaluate/{variant}/decision.json",
        checks="results/evaluate/{variant}/checks.json",
        roc=report(
            "results/evaluate/{variant}/roc.csv",
            caption="../report/roc.rst",
            category="Evaluation",
            labels={"variant": "{variant}", "table": "ROC"},
        ),
        volumes=collect(
            "results/evaluate/{{variant}}/{kind}/{patient}.nii.gz", kind=EVALUATED, patient=SCORED
        ),
    log:
        "logs/evaluate/{variant}.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.evaluate.stage"),
        cohort=[as_parameters(patient) for patient in COHORT.values()],
        references=reference_facts,
        settings=CONFIG.evaluate.model_dump(mode="json"),
        trained=settings_of,
        min_patients=CONFIG.min_patients,
        crop=CONFIG.crop.model_dump(mode="json"),
        convert=CONFIG.convert.model_dump(mode="json"),
    script:
        "../scripts/evaluate.py"


rule compare:
    input:
        patients=collect("results/evaluate/{variant}/patients.csv", variant=VARIANTS),
        metrics=collect("results/evaluate/{variant}/metrics.json", variant=VARIANTS),
    output:
        comparison=report(
            "results/evaluate/comparison.csv",
            caption="../report/comparison.rst",
            category="Evaluation",
            labels={"variant": "all", "table": "comparison"},
        ),
        summary="results/evaluate/summary.json",
    log:
        "logs/evaluate/comparison.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.evaluate.compare"),
        variants=VARIANTS,
        cohort=cohort_name(CONFIG),
        settings=CONFIG.evaluate.model_dump(mode="json"),
    script:
        "../scripts/compare.py"
