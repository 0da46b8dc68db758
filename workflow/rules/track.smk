# Nothing but absence makes this rule run. Were it to depend on data, settings or code, then whenever it ran Snakemake
# (9.27) would leave out every other reason to run the jobs that list its output as `ancient`: a changed loss would start
# a new record and train nothing. That the record fits the run is therefore seen to by those who use it
# (`cpmn.tracking.current_track`).
rule track:
    output:
        "results/track.json",
    log:
        "logs/track.log",
    conda:
        "../envs/track.yaml"
    script:
        "../scripts/track.py"


# Not part of `all`: a person decides when a new model is to be considered.
rule promote:
    input:
        comparison="results/evaluate/comparison.csv",
        patients=collect("results/evaluate/{variant}/patients.csv", variant=VARIANTS),
        track=ancient("results/track.json"),
        code=code_of("cpmn.tracking.champion"),
    output:
        "results/promote.json",
    log:
        "logs/promote.log",
    conda:
        "../envs/train.yaml"
    params:
        metric=CONFIG.track.champion_metric,
        settings=CONFIG.evaluate.model_dump(mode="json"),
    script:
        "../scripts/promote.py"
