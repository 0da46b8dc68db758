"""That the pages say what the kept tables say, in short sentences."""

import re
from pathlib import Path

import pytest

from study.page import DOCS, TABLES, filled, markdown

LONGEST = 30  # words of a sentence
TABLE = re.compile(r"<!-- table .*?<!-- end of table -->", re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def prose(text: str) -> list[str]:
    """Paragraphs and list items, without tables, headings, code and comments."""
    text = re.sub(r"^( {4}|\||#|!|<!--).*$", "", TABLE.sub("", text), flags=re.MULTILINE)
    blocks = [re.sub(r"^\s*(- |\d\. )", "", one) for one in re.split(r"\n\s*\n|\n(?=- |\d\. )", text)]
    return [re.sub(r"\]\([^)]*\)", "]", " ".join(block.split())) for block in blocks if block.strip()]


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_page_are_those_of_the_kept_results(name):
    assert filled(page(name), TABLES[name]) == page(name)


def test_every_decimal_of_the_result_stands_in_a_generated_table():
    """Except in the table of what Git alone holds, which is no prose."""
    known = {
        number for name in TABLES for part in TABLE.findall(page(name)) for number in re.findall(r"\d+\.\d+", part)
    }
    written = [number for block in prose(page("result.md")) for number in re.findall(r"\d+\.\d+", block)]
    assert written
    assert [number for number in written if number not in known] == []


@pytest.mark.parametrize("name", TABLES)
def test_no_sentence_is_too_long(name):
    sentences = [one for block in prose(page(name)) for one in re.split(r"(?<=[.?!])[*)]* ", block)]
    assert len(sentences) > 20
    assert [one for one in sentences if len(one.split()) > LONGEST] == []


def test_prose_is_what_is_neither_table_nor_code():
    text = "# Head\n\nOne *two*\nthree.\n- four\n- five [six](a.md#b)\n\n    code\n\n| a | b |\n"
    assert prose(text) == ["One *two* three.", "four", "five [six]"]


@pytest.mark.parametrize("name", TABLES)
def test_links_and_anchors_lead_somewhere(name):
    pictures = ("images/found.png", "images/missed.png", "images/false-mark.png")
    for target in re.findall(r"\]\(([^)]+)\)", page(name)):
        file, _, anchor = target.partition("#")
        path = DOCS / file if file else DOCS / name
        if target not in pictures:
            assert path.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", Path(path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_a_table_replaces_what_stands_between_its_markers():
    begin, end = "<!-- table one: written by `python -m study` -->", "<!-- end of table -->"
    text = f"before\n{begin}\nold\n{end}\nafter {end}\n"
    table = {"one": lambda: markdown(["a", "b"], [["1", "2"]])}
    assert filled(text, table) == f"before\n{begin}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n{end}\nafter {end}\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        filled("no marker", table)
