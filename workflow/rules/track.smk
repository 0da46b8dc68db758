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
