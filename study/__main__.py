"""`python -m study`: write the tables of the pages; `python -m study figure`: draw the forest plot."""

import argparse

from study.page import DOCS, write_pages


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("tables", "figure"), default="tables")
    if parser.parse_args().what == "tables":
        write_pages()
        return
    from study.figure import draw_forest

    draw_forest(DOCS / "images" / "forest.png")


if __name__ == "__main__":
    main()
