rule splits:
    output:
        "results/train/splits.json",
    log:
        "logs/train/splits.log",
    priority: 1
    conda:
        "../envs/images.yaml"
    params:
        code=code_of("cpmn.cohort.splits"),
        splits=SPLITS,
        reason=UNSPLIT,
    script:
        "../scripts/splits.py"


rule train:
    input:
        crops=crops_of(fold_patients),
        ctpa_crops=ctpa_crops_of,
        vessels=masks_of,
        qualities=qualities_of(fold_patients),
        splits=[] if SPLITS else "results/train/splits.json",
    output:
        model="results/train/{variant}/fold-{fold}/model.safetensors",
        plan="results/train/{variant}/fold-{fold}/plan.json",
        history=report(
            "results/train/{variant}/fold-{fold}/history.csv",
            caption="../report/history.rst",
            category="Training",
            labels={"variant": "{variant}", "fold": "{fold}"},
        ),
    log:
        "logs/train/{variant}/fold-{fold}.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.train.launch", "cpmn.train.__main__", "cpmn.job.status"),
        patients=fold_of,
        labels=labels_of,
        paired=paired_patients,
        ctpa_alone=ctpa_alone_patients,
        reported=reported_patients,
        masked=masked_patients,
        settings=settings_of,
    script:
        "../scripts/train.py"


rule models:
    input:
        "results/train/splits.json",
        "results/convert/cohort.json",
        collect(
            "results/train/{variant}/fold-{fold}/model.safetensors",
            variant=VARIANTS,
            fold=range(len(FOLDS)),
        ),
