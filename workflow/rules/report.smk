rule report:
    input:
        comparison="results/evaluate/comparison.csv",
        cohort="results/convert/cohort.json",
        splits="results/train/splits.json",
        histories=collect(
            "results/train/{variant}/fold-{fold}/history.csv",
            variant=VARIANTS,
            fold=range(len(FOLDS)),
        ),
        qualities=collect("results/register/{patient}/quality.json", patient=PAIRED),
        statuses=collect("results/crop/{patient}/status.json", patient=WITH_NCT),
        annotated="results/annotate/metrics.json" if READERS["read"] else [],
        variants=read_apart(
            "results/evaluate/{variant}/{file}",
            variant=VARIANTS,
            file=[
                *("metrics.json", "patients.csv", "roc.csv", "checks.json", "decision.json"),
                *(f"{kind}/{name}.nii.gz" for kind in EVALUATED for name in SCORED),
            ],
        ),
        plans=read_apart(
            "results/train/{variant}/fold-{fold}/plan.json", variant=VARIANTS, fold=range(len(FOLDS))
        ),
        records=read_apart("results/{file}", file=[f for name in PATIENTS for f in records_of(name)]),
        scans=read_apart(
            "results/{file}.nii.gz",
            file=[
                f"{stage}/{name}/{image}"
                for name in SCORED
                for stage, image in (("convert", "nct"), ("crop", "nct"), ("propagate", "embolus"))
            ],
        ),
        worklist=read_apart("results/annotate/worklist.csv") if READERS["read"] else [],
        overlays=read_apart("results/register/{patient}/quality.png", patient=PAIRED),
    output:
        page=report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "report"},
        ),
        card="results/report/model_card.md",
        run="results/report/run.json",
    log:
        "logs/report.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.report.stage"),
        cohort=[as_parameters(patient) for patient in COHORT.values()],
        variants=VARIANTS,
        config=CONFIG.model_dump(mode="json", by_alias=True),
    script:
        "../scripts/report.py"
