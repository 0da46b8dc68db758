"""`python -m study`: write the tables of the pages; `figure`: draw the forest plot; of a finished run, by the folder
RESULTS, `pictures`: draw its clots, `keep`: add its readings to the kept tables."""

import argparse
from pathlib import Path

from study.page import DOCS, write_pages
from study.tables import RESULTS


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("tables", "figure", "pictures", "keep"), default="tables")
    parser.add_argument("results", nargs="?", type=Path, help="with pictures, keep: results of a finished run")
    parser.add_argument("--variant", default="nct_only", help="with pictures: whose (default: nct_only)")
    parser.add_argument("--into", type=Path, default=RESULTS, help="with keep: folder of the tables")
    options = parser.parse_args()
    if options.what == "tables":
        write_pages()
    elif options.what == "figure":
        from study.figure import draw_forest

        draw_forest(DOCS / "images" / "forest.png")
    elif options.what == "keep":
        from study.keep import keep

        for run, added in keep((options.results or Path("results")).absolute(), options.into).items():
            print(f"{run}: {'kept' if added else 'stands there already'}")
    else:
        from study.pictures import draw_pictures

        for place in draw_pictures(options.results or Path("results"), options.variant, DOCS / "images"):
            print(f"{place.kind}: {place.patient}, {place.ml:.2f} mL")


if __name__ == "__main__":
    main()
