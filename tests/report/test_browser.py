"""The report's script in a real browser."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

import cpmn.report

pytestmark = pytest.mark.slow

SCRIPT = (Path(cpmn.report.__file__).parent / "templates/page.js").read_text(encoding="utf-8")
TEMPLATE = (Path(cpmn.report.__file__).parent / "templates/page.html.j2").read_text(encoding="utf-8")
DIFFERENCES = ["0.10 (−0.02 to 0.22)", "−0.30 (−0.41 to −0.19)", "–", "−0.02", "10", "9"]
PATIENTS = ["p10", "p9", "p1", "q1", "p2", "p3"]


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        (0, ["p1", "p2", "p3", "p9", "p10", "q1"]),
        (1, ["−0.30 (−0.41 to −0.19)", "−0.02", "0.10 (−0.02 to 0.22)", "9", "10", "–"]),
    ],
    ids=["names", "numbers"],
)
def test_a_click_sorts_and_another_turns_the_order(browser, tmp_path, column, ascending):
    rows = "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in zip(PATIENTS, DIFFERENCES, strict=True))
    policy = TEMPLATE[TEMPLATE.index("<meta http-equiv") :].split("\n")[0]
    policy = policy.replace("{{ script_sha256 }}", b64encode(sha256(SCRIPT.encode()).digest()).decode())
    injected = "<script>document.querySelector('table').remove()</script>"  # the page's policy forbids it
    head = "<thead><tr><th>patient</th><th>difference</th></tr></thead>"
    table = f"<table class='sortable'>{head}<tbody>{rows}</tbody></table>"
    page = tmp_path / "index.html"
    page.write_text(
        f"<!doctype html><meta charset='utf-8'>{policy}{table}{injected}<script>{SCRIPT}</script>", encoding="utf-8"
    )
    browser.get(page.as_uri())
    for expected in (ascending, ascending[::-1]):
        browser.find_elements("css selector", "th button")[column].click()
        cells = browser.find_elements("css selector", f"td:nth-child({column + 1})")
        assert [cell.text for cell in cells] == expected
