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
        pictures=collect(
            "results/evaluate/{variant}/{kind}/{patient}.nii.gz",
            variant=VARIANTS,
            kind=["predictions", "cam"],
            patient=SCORED,
        ),
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
