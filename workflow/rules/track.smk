# Not part of `all`, and no job's input: those that need the record start it, and see to it that it fits the run
# (`cpmn.track.current_track`). As an input, `ancient` or not, it would hide other reasons to run a job: whenever this
# rule ran, Snakemake (9.27) would leave out changed settings and code of all that comes after it.
rule track:
    output:
        "results/track.json",
    log:
        "logs/track.log",
    conda:
        "../envs/train.yaml"
    script:
        "../scripts/track.py"


# Not part of `all`: a person decides when a new model is to be considered.
rule promote:
    input:
        comparison="results/evaluate/comparison.csv",
        patients=collect("results/evaluate/{variant}/patients.csv", variant=VARIANTS),
    output:
        "results/promote.json",
    log:
        "logs/promote.log",
    conda:
        "../envs/train.yaml"
    params:
        code=code_of("cpmn.track.champion"),
        metric=CONFIG.track.champion_metric,
        settings=CONFIG.evaluate.model_dump(mode="json"),
    script:
        "../scripts/promote.py"
