"""MLflow's pages in a real browser: a method developer compares the two variants.

With `CPMN_SCREENSHOTS=docs/images` in the environment the pictures of the documentation are taken anew.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

PICTURES = os.environ.get("CPMN_SCREENSHOTS")
ROUNDING = 0.51e-3  # MLflow's table of a comparison has three decimals, or four digits


@pytest.fixture(scope="module")
def pages(tiny, uri, serve, port):
    """Address of MLflow's pages, served by the command of `make ui`."""
    number = port()
    with serve(["ui", "--backend-store-uri", uri], number, "/health", tiny.run) as address:
        yield address


def test_two_variants_are_selected_and_compared(browser, pages, tiny, client):
    experiment = client.get_experiment_by_name("phantom-learnable").experiment_id
    browser.get(f"{pages}/#/experiments/{experiment}/runs")
    close_assistant(browser)
    expand(browser, "phantom-learnable 20")
    open_comparison(browser, ("cpmn", "nct_only"))
    order = [variant for variant in body(browser).split("\n") if variant in ("cpmn", "nct_only")][:2]
    browser.execute_script("arguments[0].scrollIntoView()", find_text(browser, "Metrics"))
    if PICTURES:
        show_figure(browser, "voxel.dice")
        take_picture(browser, "mlflow-compare.png")
    figures = {variant: estimates(tiny.run, variant) for variant in ("cpmn", "nct_only")}
    shown = read_table(browser, [name for values in figures.values() for name in values])
    columns = sorted({x for values in shown.values() for x in values})
    for variant, values in figures.items():
        assert len(values) > 20
        column = columns[order.index(variant)]
        assert {name: float(shown[name][column]) for name in values} == pytest.approx(
            values, rel=ROUNDING, abs=ROUNDING
        )


def estimates(run, variant):
    """Values of a variant's `metrics.json` by the names that they have in MLflow."""
    metrics = json.loads((run / f"results/evaluate/{variant}/metrics.json").read_text())
    return {
        f"{group}.{name}{suffix}": figure[key]
        for group in ("patient", "voxel")
        for name, figure in metrics[group].items()
        for key, suffix in {"value": "", "low": ".low", "high": ".high"}.items()
        if figure[key] is not None
    }


def test_curves_of_both_trainings_are_drawn(browser, pages, client):
    experiment = client.get_experiment_by_name("phantom-learnable").experiment_id
    browser.get(
        f"{pages}/#/experiments/{experiment}/runs?searchFilter=tags.level%20%3D%20%27fold%27&compareRunsMode=CHART"
    )
    close_assistant(browser)
    for variant in ("cpmn", "nct_only"):
        expand(browser, variant)
    for name in ("cpmn fold-0", "nct_only fold-0"):
        find_text(browser, name)
    legend = "//*[contains(text(), '{} fold-0') and contains(text(), '(train_segmentation')]"
    for variant in ("cpmn", "nct_only"):
        search_charts(browser, "train_seg", legend.format(variant))
    take_picture(browser, "mlflow-curves.png")


def test_registered_versions_are_listed_with_their_variant(browser, pages):
    browser.get(f"{pages}/#/models/cpmn-phantom-learnable")
    find_text(browser, "Version 2")
    assert {"cpmn", "nct_only"} <= {line.strip() for line in body(browser).replace(":", "\n").split("\n")}


def close_assistant(browser):
    """Close MLflow's chat panel, which covers a third of the page when it is opened for the first time."""
    find(browser, ".ag-row")
    for button in browser.find_elements("css selector", "[data-component-id='mlflow.assistant.chat_panel.close']"):
        button.click()


def expand(browser, name):
    """Open the children of the run whose name starts with `name`."""
    row = row_of(browser, name)
    row.find_element("css selector", "[data-component-id*='runnamecellrenderer']").click()


def open_comparison(browser, names):
    """Tick the runs and press Compare: again where the page was drawn anew in between and forgot a tick or a click."""
    from selenium.common.exceptions import WebDriverException

    heading = f"//*[text()='Comparing {len(names)} Runs from 1 Experiment']"
    for _ in range(6):
        try:
            for name in names:
                select(browser, name)
            take_picture(browser, "mlflow-runs.png")
            find(browser, "[data-testid='runs-compare-button']").click()
        except WebDriverException:  # what was found is gone
            continue
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if browser.find_elements("xpath", heading):
                return
            time.sleep(0.1)
    raise AssertionError(body(browser)[-3000:])


def select(browser, name):
    """Tick the run's box, where it is not ticked."""
    row = row_of(browser, name)
    if "ag-row-selected" not in row.get_attribute("class"):
        number = row.get_attribute("row-index")
        find(browser, f".ag-row[row-index='{number}'] .ag-selection-checkbox").click()


def row_of(browser, name):
    link = find_xpath(browser, f"//div[contains(@class,'ag-row')]//a[starts-with(normalize-space(), '{name}')]")
    return link.find_element("xpath", "./ancestor::div[contains(@class,'ag-row')][1]")


SECTION = """
const section = [...document.querySelectorAll('.du-bois-light-collapse-item')].find(
    item => item.innerText.startsWith('Metrics'));
const body = [...section.querySelectorAll('.ReactVirtualized__Grid')].at(-1);
"""
GRID = SECTION + "return body;"
SCROLL = SECTION + "body.scrollTop = arguments[0]; return body.scrollHeight - body.clientHeight;"
ROWS = (
    SECTION
    + """
return [...section.querySelectorAll('.ReactVirtualized__Grid__innerScrollContainer > div')].map(
    cell => [parseFloat(cell.style.top), parseFloat(cell.style.left), cell.innerText.trim()]);
"""
)


def read_table(browser, names):
    """Figures by name and position from the left, from the comparison's table, read until all `names` were seen.

    A name stands in `names` once for each run that has it. The table draws what is in view, some time after it was
    scrolled there; a figure that a run has not got is no cell.
    """
    rows, expected = {}, Counter(names)

    def read_through():
        top, last = 0, 1
        while top < last + 200:
            last = browser.execute_script(SCROLL, top)
            time.sleep(0.15)
            for name, values in rows_in_view(browser):
                rows.setdefault(name, {}).update(values)
            top += 200
        return all(len(rows.get(name, ())) >= count for name, count in expected.items())

    wait_for(read_through, browser)
    return rows


def rows_in_view(browser):
    """Name and cells of each line that is drawn whole."""
    lines = {}
    for y, x, text in browser.execute_script(ROWS):
        lines.setdefault(y, []).append((x, text))
    for cells in lines.values():
        names = [text for _, text in cells if any(letter.isalpha() for letter in text)]
        values = {x: text for x, text in cells if text and text not in names}
        if names and values:
            yield names[0], values


def show_figure(browser, name):
    """Turn the mouse's wheel over the table until a figure stands at its top."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    origin, distance = ScrollOrigin.from_element(browser.execute_script(GRID)), -20_000
    for _ in range(300):
        ActionChains(browser).scroll_from_origin(origin, 0, distance).perform()
        time.sleep(0.2)
        distance = 45  # the height of a row
        tops = [y for y, _, text in browser.execute_script(ROWS) if text == name]
        if tops and tops[0] <= browser.execute_script(GRID).get_property("scrollTop"):
            browser.execute_script(SECTION + "body.scrollLeft = 0;")
            ActionChains(browser).scroll_from_origin(origin, 0, 1).perform()  # the names lag by one turn of the wheel
            return


def search_charts(browser, text, path):
    """Type into the search of charts until `path` is there: what is typed while charts load has no effect."""
    field = find(browser, "input[placeholder='Search metric charts']")
    for _ in range(10):
        if browser.find_elements("xpath", path):
            return
        field.send_keys(*"\b" * 30, text)
        time.sleep(4)
    raise AssertionError(body(browser)[-3000:])


def find(browser, selector):
    return wait_for(lambda: browser.find_elements("css selector", selector), browser)[0]


def find_xpath(browser, path):
    return wait_for(lambda: browser.find_elements("xpath", path), browser)[0]


def find_text(browser, text):
    return find_xpath(browser, f"//*[text()='{text}']")


def body(browser):
    return browser.find_element("tag name", "body").text


def wait_for(condition, browser, seconds=40):
    """What `condition` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, body(browser)[-3000:]
        time.sleep(0.1)
    return found


def take_picture(browser, name):
    if PICTURES:
        time.sleep(2)  # until everything is drawn
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(PICTURES) / name))
