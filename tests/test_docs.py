"""Pages: links and anchors lead somewhere, the index reaches every page, commands exist with their options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from snakemake.cli import get_argument_parser

import cpmn
from cpmn.cli import parser as cpmn_parser

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "index.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("config/*.md"), *ROOT.glob("study/*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:    )+(?:\S*/)?((?:make|cpmn|snakemake)\b[^#|&>\n]*)", re.MULTILINE)
"""A command in an indented block, up to a comment, a pipe or the next command."""
GONE = {"docs/benchmark.md", "docs/benchmark-log.md"}  # in Git, at the commit that the protocol names


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _text(page: Path) -> str:
    """The page without what is code: neither links nor headings stand there."""
    return re.sub(r"^(?:    |\t).*$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, formed as GitHub forms them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor (perhaps empty) of each relative link of a page."""
    for target in LINK.findall(_text(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = unquote(target).partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


def _commands(page: Path, program: str) -> list[str]:
    """Calls of a program in a page's indented blocks, continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [call.strip() for call in COMMAND.findall(text) if call.split()[0] == program]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_anchors_lead_somewhere(page: Path):
    for path, anchor in _links(page):
        assert path.exists(), f"{_name(page)} links to {path}, which does not exist"
        assert not anchor or anchor in _anchors(path), f"{_name(page)}: {path.name} has no #{anchor}"


def test_every_page_is_reachable_from_the_index():
    reached, waiting = set(), [INDEX]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            waiting += [path for path, _ in _links(page)]
    assert [_name(page) for page in PAGES if page not in reached] == []


def test_the_readme_leads_to_the_index():
    assert INDEX in {path for path, _ in _links(ROOT / "README.md")}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_exist(page: Path):
    named = re.findall(r"`((?:cpmn|workflow|tests|config|docs)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    real = [name for name in named if not re.search("/[A-Z]+\\b|measure", name)]  # placeholders, and the example stage
    assert [name for name in real if not (ROOT / name).exists() and name not in GONE] == []


def test_pages_that_the_code_names_exist():
    files = [path for folder in ("cpmn", "workflow", "config") for path in (ROOT / folder).rglob("*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in {".py", ".smk", ".yaml", ".j2"}]
    named = set(re.findall(r"docs/[\w/-]+\.md", "".join(texts)))
    assert [name for name in named if not (ROOT / name).exists()] == []


def _all_commands(program: str) -> list[str]:
    return [call for page in PAGES for call in _commands(page, program)]


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {word for call in _all_commands("make") for word in call.split()[1:] if "=" not in word}
    assert {"demo", "test"} <= named <= set(targets)


def test_cpmn_commands_exist_with_their_options():
    calls = _all_commands("cpmn")
    assert calls
    for call in calls:
        words = shlex.split(call.replace("[...]", ""))[1:]
        cpmn_parser().parse_args(words)  # ends with a message where it does not know a word


def test_snakemake_targets_and_presets_exist():
    rules = re.findall(r"^rule (\w+):", "".join(p.read_text() for p in ROOT.glob("workflow/rules/*.smk")), re.MULTILINE)
    calls = _all_commands("snakemake")
    assert calls
    for call in calls:
        options = get_argument_parser().parse_args(shlex.split(call)[1:])
        assert {name for name in options.targets if "/" not in name} <= {*rules, "all"}, call
        for preset in options.configfile or []:  # the option takes all words that follow, a target too
            assert preset.suffix == ".yaml", call
            assert preset.parent != Path("config") or (ROOT / preset).is_file(), call


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == cpmn.__version__
    assert f"arXiv {citation['preferred-citation']['identifiers'][0]['value'].split(':')[1]}" in _text(
        ROOT / "README.md"
    )
