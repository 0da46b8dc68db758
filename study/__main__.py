"""`python -m study`: write the tables of the pages; `figure`: draw the forest plot; of a finished run, by the folder
RESULTS, `pictures`: draw its clots, `keep`: add its readings to the kept tables, `own`: outline the pairs without an
outline as its network reads their NCT, `read`: let it read the patients of `few`, once, `outlines`: measure whom it
outlined."""

import argparse
from pathlib import Path

from study.page import DOCS, write_pages
from study.tables import RESULTS


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("tables", "figure", "pictures", "keep", "own", "read", "outlines"), default="tables"
    )
    parser.add_argument("results", nargs="?", type=Path, help="results of a run")
    parser.add_argument("--variant", help="with pictures, read: whose (default: nct_only); own: needed")
    parser.add_argument(
        "--into", type=Path, default=RESULTS, help="with keep, own, read, outlines: folder of what is made"
    )
    options = parser.parse_args()
    if options.what == "own" and options.variant is None:
        parser.error("own needs --variant: the one that learnt from the labels alone")
    variant = options.variant or "nct_only"
    if options.what == "tables":
        write_pages()
    elif options.what == "figure":
        from study.figure import draw_forest

        draw_forest(DOCS / "images" / "forest.png")
    elif options.what == "keep":
        from study.keep import keep

        for run, added in keep((options.results or Path("results")).absolute(), options.into).items():
            print(f"{run}: {'kept' if added else 'stands there already'}")
    elif options.what == "own":
        from cpmn.config.root import load_config
        from study.cohort import stored_protocol, workflow_config
        from study.own import outline_by_itself

        results, config = (
            (options.results or Path("results")).absolute(),
            load_config(workflow_config(stored_protocol())),
        )
        for patient, pieces in outline_by_itself(results, variant, options.into, config).items():
            print(f"{patient}: {pieces} pieces")
    elif options.what in ("read", "outlines"):
        from cpmn.config.root import load_config
        from study.cohort import stored_protocol, workflow_config
        from study.scores import measure_outlines, read_once

        results = (options.results or Path("results")).absolute()
        if options.what == "outlines":
            print(measure_outlines(results, options.into))
        else:
            config = load_config(workflow_config(stored_protocol()))
            print(f"{read_once(results, variant, config, options.into)} patients read")
    else:
        from study.pictures import draw_pictures

        for place in draw_pictures(options.results or Path("results"), variant, DOCS / "images"):
            print(f"{place.kind}: {place.patient}, {place.ml:.2f} mL")


if __name__ == "__main__":
    main()
