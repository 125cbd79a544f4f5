"""The HTML page in a real Chromium: it opens from a file, alone, and does what it offers."""

from __future__ import annotations

import base64
import dataclasses
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import browsing
import pytest
import sample_reports

from csptrace.analysis.render import FORMATS, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from browsing import Browser

    from csptrace.analysis.results import Comparison, Report

FLEET = sample_reports.fleet()
OPTIONS = Options(
    title="payments: nightly fleet",
    source_root=str(sample_reports.PROJECT),
    generated=sample_reports.START,
)
TABS = ("findings", "timeline", "flame", "handles", "runs")
LIST = "#panel-findings .scroll"
TREE = "#panel-handles .scroll"
ROWS = f"{LIST} [data-index]"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return a browser for all tests of this module; skip, or fail if required, without."""
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """Return the browser with the size and preferences that every test starts from."""
    chromium.command("Emulation.setScriptExecutionDisabled", value=False)
    chromium.resize(1440, 900)
    chromium.prefer("light")
    return chromium


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """Return a function that renders a result and opens the page."""

    def opened(result: Report | Comparison = FLEET, fragment: str = "") -> Browser:
        form = FORMATS["html"]
        method: Any = form.report if hasattr(result, "sites") else form.comparison
        page = tmp_path / "report.html"
        page.write_text(method(result, OPTIONS), encoding="utf-8", newline="")
        browser.open(page, fragment)
        browser.frame()
        return browser

    return opened


def cells(browser: Browser, column: int) -> list[str]:
    """Return the texts of one column of the findings that are in the document, in their order."""
    return browser.texts(f"{ROWS} > :nth-child({column})")


def tab(browser: Browser, name: str) -> None:
    """Open a view."""
    browser.click(f"#tab-{name}")


RESULTS = {
    "fleet": FLEET,
    "empty": sample_reports.empty(),
    "hostile": sample_reports.hostile(),
    "comparison": sample_reports.comparison(),
    "hostile comparison": sample_reports.hostile_comparison(),
    "nothing changed": sample_reports.nothing_changed(),
    "one point": dataclasses.replace(
        sample_reports.small(), timelines=(("elsewhere", FLEET.timelines[0][1][:1]),), runs=()
    ),
}


@pytest.mark.parametrize("name", list(RESULTS))
def test_page_is_quiet_and_alone(name: str, show: Callable[..., Browser]) -> None:
    """No view of any report writes to the console or asks for anything but the file itself."""
    browser = show(RESULTS[name])
    address = browser.run("return location.href")
    for button in browser.all("[role=tab]"):
        button.click()
        browser.frame()

    assert browser.logged() == []
    requested = [url for url in browser.requested() if not url.startswith("data:")]
    assert [url for url in requested if url.partition("#")[0] != address.partition("#")[0]] == []
    assert browser.run("return document.title") == OPTIONS.title


def test_markup_of_the_log_is_text(show: Callable[..., Browser]) -> None:
    """Hostile names are shown, and are neither elements nor code."""
    browser = show(RESULTS["hostile"])
    shown = browser.text("body")

    assert "<img src=x onerror=document.title='owned'>" in shown
    assert browser.run("return document.querySelectorAll('img, iframe, main script').length") == 0


def test_policy_is_enforced(show: Callable[..., Browser]) -> None:
    """A script that found its way into the page would not run, and no address can be asked."""
    browser = show(sample_reports.small())
    result = browser.chrome.execute_async_script(
        "const done = arguments[0];"
        "const script = document.createElement('script');"
        "script.textContent = 'window.owned = true'; document.body.append(script);"
        "fetch('http://127.0.0.1:9/').then(() => done('fetched'), () => done(window.owned || 'no'))"
    )

    assert result == "no"
    assert any("Content Security Policy" in message for message in browser.logged())
    assert not [url for url in browser.requested() if url.startswith("http")]


def test_filters(show: Callable[..., Browser]) -> None:
    """Severity, code, kind and host narrow the list together; Clear brings everything back."""
    browser = show()
    assert browser.text(".tally [role=status]") == f"{len(FLEET.groups)} findings"

    browser.click(".chip[data-level=warning]")
    warnings = [group for group in FLEET.groups if group.severity == "warning"]
    assert browser.text(".tally [role=status]") == f"{len(warnings)} of {len(FLEET.groups)}"
    assert set(browser.texts(f"{ROWS} .lamp")) == {"warning"}

    for facet, value in (("kind", "HCRYPTHASH"), ("host", "web-1")):
        browser.run(
            "const select = document.querySelector(`[data-facet=${arguments[0]}]`);"
            "select.value = arguments[1]; select.dispatchEvent(new Event('change'))",
            facet,
            value,
        )
    expected = [
        group for group in warnings if group.kind == "HCRYPTHASH" and "web-1" in group.hosts
    ]
    browser.frame()
    assert expected
    assert cells(browser, 5) == [
        str(group.where).removeprefix(f"{sample_reports.BUILT}/") for group in expected
    ]

    browser.click(".tally .link")
    assert browser.text(".tally [role=status]") == f"{len(FLEET.groups)} findings"


def test_search(show: Callable[..., Browser]) -> None:
    """`/` goes to the search, every word must be found, Escape brings everything back."""
    browser = show()
    browser.keys("/")
    assert browser.focused("#search")

    browser.keys("tokenvault.wrap hcryptkey")
    assert set(cells(browser, 4)) == {"HCRYPTKEY"}
    places = cells(browser, 5)
    assert 0 < len(places) < len(FLEET.groups)
    assert all(place.startswith("payments/tokens.py") for place in places)

    browser.keys(" nowhere-at-all")
    assert "Nothing fits" in browser.text(".list .nothing")

    browser.keys("ESCAPE")
    assert browser.focused(LIST)
    assert browser.text(".tally [role=status]") == f"{len(FLEET.groups)} findings"


def test_sorting(show: Callable[..., Browser]) -> None:
    """A click on a column's head sorts by it, another one the other way round, and says so."""
    browser = show()
    browser.click(f"{LIST} [data-key=count] button")
    down = [int(text) for text in cells(browser, 2)]
    assert down == sorted(down, reverse=True)
    assert down[0] == max(group.count for group in FLEET.groups)
    assert browser.one(f"{LIST} [data-key=count]").get_attribute("aria-sort") == "descending"

    browser.click(f"{LIST} [data-key=count] button")
    up = [int(text) for text in cells(browser, 2)]
    assert up == sorted(up)
    assert up[0] == min(group.count for group in FLEET.groups)
    assert browser.one(f"{LIST} [data-key=count]").get_attribute("aria-sort") == "ascending"

    browser.click(f"{LIST} [data-key=where] button")
    places = cells(browser, 5)
    assert places == sorted(places)
    assert browser.one(f"{LIST} [data-key=count]").get_attribute("aria-sort") == "none"


def test_list_by_keyboard(show: Callable[..., Browser]) -> None:
    """Arrows, Home and End choose, Enter goes to the story and Escape back to the list."""
    browser = show()
    browser.run("document.querySelector(arguments[0]).focus()", LIST)
    for key, index in (
        ("ARROW_DOWN", 1),
        ("ARROW_DOWN", 2),
        ("ARROW_UP", 1),
        ("END", len(FLEET.groups) - 1),
        ("PAGE_UP", None),
        ("HOME", 0),
    ):
        browser.keys(key)
        active = browser.run(
            "return document.getElementById(document.activeElement"
            ".getAttribute('aria-activedescendant'))?.dataset.index"
        )
        if index is not None:
            assert int(active) == index
            assert FLEET.groups[index].fingerprint in browser.text(".detail")
        assert len(browser.all(f"{ROWS}[aria-selected=true]")) == 1

    browser.keys("ENTER")
    assert browser.focused(".detail")
    browser.keys("ESCAPE")
    assert browser.focused(LIST)


def test_tabs_by_keyboard(show: Callable[..., Browser]) -> None:
    """Arrow keys walk around the views; only the chosen one is in the order of focus."""
    browser = show()
    browser.run("document.getElementById('tab-findings').focus()")
    for name in (*TABS[1:], TABS[0]):
        browser.keys("ARROW_RIGHT")
        assert browser.focused(f"#tab-{name}[aria-selected=true][tabindex='0']")
        assert browser.run(
            "const shown = document.querySelectorAll('[role=tabpanel]:not([hidden])');"
            "return [...shown].map((panel) => panel.id)"
        ) == [f"panel-{name}"]
    browser.keys("END")
    assert browser.focused("#tab-runs")


def test_story_of_a_finding(show: Callable[..., Browser]) -> None:
    """The story has the steps in order, the user's line quoted, libraries folded, the remedy."""
    browser = show()
    group = FLEET.groups[0]
    story = browser.texts(".story .when")

    assert story == [step.text for step in group.example.steps]
    assert group.remedy in browser.text(".callout.fix")
    assert f"at payments/settlement.py:{group.siblings.released_at.line}" in browser.text(
        ".callout.siblings"
    )
    first = browser.texts(".story li:first-child > .frame.first .at")
    assert first == [f"payments/signing.py:{group.where.line}"]
    assert "CryptGenKey" in browser.texts(".story li:first-child .quote .hit code")[0]
    folded = browser.all(".story li:first-child details.more > summary")
    assert folded
    assert browser.all(".story details[open]") == []
    assert "celery" not in browser.text(".story")
    for element in folded:
        element.click()
    assert "celery/worker/request.py" in browser.text(".story")
    causes = ["exception (raised)", "branch (returned)"]
    assert browser.texts(".share span:not(.number)")[: len(causes)] == causes


def test_a_finding_can_be_linked(show: Callable[..., Browser]) -> None:
    """The address names the chosen finding, and opening it chooses that one again."""
    group = FLEET.groups[17]
    browser = show(fragment=f"finding/{group.fingerprint}")

    assert group.fingerprint in browser.text(".detail")
    browser.click("#tab-handles")
    assert browser.run("return location.hash") == "#handles"


def test_graph_expands(show: Callable[..., Browser]) -> None:
    """Handles open and close by click and by key, all at once, and show only the unreleased."""
    browser = show()
    tab(browser, "handles")
    tops = [node for node in FLEET.graph if node.parent == 0]
    expand, collapse = browser.all("#panel-handles .forest .link")
    collapse.click()
    browser.frame()
    assert browser.one(TREE).get_attribute("aria-rowcount") == str(len(tops) + 1)
    assert browser.texts(f"{TREE} [data-index] .name span:nth-of-type(1)")[: len(tops)]

    row = f"{TREE} [data-index='1']"
    assert browser.one(row).get_attribute("aria-expanded") == "false"
    browser.click(f"{row} .twist")
    children = [node for node in FLEET.graph if node.parent == tops[1].hid]
    assert browser.one(row).get_attribute("aria-expanded") == "true"
    assert browser.one(TREE).get_attribute("aria-rowcount") == str(len(tops) + len(children) + 1)
    assert browser.one(f"{TREE} [data-index='2']").get_attribute("aria-level") == "2"
    assert children[0].value in browser.text(f"{TREE} [data-index='2']")

    browser.run("document.querySelector(arguments[0]).focus()", TREE)
    browser.keys("HOME", "ARROW_DOWN", "ARROW_LEFT")
    assert browser.one(row).get_attribute("aria-expanded") == "false"
    browser.keys("ARROW_RIGHT", "ARROW_RIGHT")
    assert browser.one(f"{TREE} [data-index='2']").get_attribute("aria-selected") == "true"
    browser.keys("ARROW_LEFT")
    assert browser.one(row).get_attribute("aria-selected") == "true"

    expand.click()
    browser.frame()
    assert browser.one(TREE).get_attribute("aria-rowcount") == str(len(FLEET.graph) + 1)
    browser.click("#panel-handles .forest .segmented button:last-child")
    bad = [node for node in FLEET.graph if node.how in ("invalidated", "alive", "collected")]
    above = {node.parent for node in bad} - {node.hid for node in bad} - {0}
    assert browser.one(TREE).get_attribute("aria-rowcount") == str(len(bad) + len(above) + 1)


def test_search_in_the_graph(show: Callable[..., Browser]) -> None:
    """A search shows the handles that fit with what is above them, opened."""
    browser = show()
    tab(browser, "handles")
    node = next(node for node in FLEET.graph if node.parent)
    browser.keys("/", node.value)
    shown = browser.texts(f"{TREE} [data-index] .name")

    assert any(node.value in text for text in shown)
    assert len(shown) < len(FLEET.graph)


def test_flame_graph(show: Callable[..., Browser]) -> None:
    """The weight can be switched, a click zooms, Escape goes back, arrows walk."""
    browser = show()
    tab(browser, "flame")
    totals = {name: sum(getattr(site, name) for site in FLEET.sites) for name in ("leaked", "live")}
    assert browser.texts(".flame button")[0] == f"all {totals['leaked']:,} leaked"
    widths = "return [...document.querySelectorAll('.flame button')].map((b) => b.offsetWidth)"
    whole = browser.run(widths)
    assert len(whole) > 20

    browser.click("#panel-flame .segmented button:last-child")
    assert browser.texts(".flame button")[0] == f"all {totals['live']:,} live"
    browser.click("#panel-flame .segmented button:nth-child(2)")

    target = browser.run(
        "const all = [...document.querySelectorAll('.flame button')];"
        "return all.findIndex((b) => b.textContent === 'authenticate')"
    )
    assert target > 0
    browser.all(".flame button")[target].click()
    browser.frame()
    assert len(browser.run(widths)) < len(whole)
    assert browser.focused(".flame button")
    assert "authenticate" in browser.text(".crumb")
    browser.keys("ARROW_DOWN")
    assert "Signer.mac" in browser.text(".crumb")
    browser.keys("ESCAPE")
    assert browser.run(widths) == whole

    browser.keys("/", "webhooks")
    assert 0 < len(browser.all(".flame button:not(.faded)")) < len(whole)


def test_flame_graph_adds_up(show: Callable[..., Browser]) -> None:
    """No box is wider than the one it stands under, and the rows do not overlap."""
    browser = show()
    tab(browser, "flame")
    boxes = browser.run(
        "return [...document.querySelectorAll('.flame button')].map((b) =>"
        "[b.offsetTop, b.offsetLeft, b.offsetLeft + b.offsetWidth])"
    )
    rows: dict[int, list[tuple[int, int]]] = {}
    for top, left, right in boxes:
        rows.setdefault(top, []).append((left, right))
    for row in rows.values():
        row.sort()
        assert all(one[1] <= other[0] + 1 for one, other in pairwise(row))


def test_timeline(show: Callable[..., Browser]) -> None:
    """A line for each chosen process; the cursor moves by arrow keys and says what it sees."""
    browser = show()
    tab(browser, "timeline")
    lines = "#panel-timeline svg[role=img] path[fill=none]"
    assert len(browser.all(lines)) == 5
    browser.click(".legend label:nth-child(1)")
    assert len(browser.all(lines)) == 4
    browser.click("#panel-timeline .segmented button:last-child")
    assert len(browser.all(lines)) == 4

    browser.run("document.querySelector('#panel-timeline svg[role=img]').focus()")
    browser.keys("ARROW_RIGHT", "ARROW_RIGHT", "PAGE_UP")
    assert browser.one(".tip").is_displayed()
    assert re.match(
        r"\d+ min .* s: ",
        browser.run("return document.querySelector('.chart [role=status]').textContent"),
    )


def test_tables_sort_and_grow(show: Callable[..., Browser]) -> None:
    """The plain tables sort by any column; a long one shows its rest when asked."""
    many = dataclasses.replace(FLEET, sources=FLEET.sources * 9)
    browser = show(many)
    tab(browser, "runs")
    logs = "#panel-runs section[aria-label=Logs]"
    assert len(browser.all(f"{logs} tbody tr")) == 100
    browser.click(f"{logs} .foot .link")
    assert len(browser.all(f"{logs} tbody tr")) == len(many.sources)

    browser.click(f"{logs} th:nth-child(2) button")
    events = [int(text.replace(",", "")) for text in browser.texts(f"{logs} td:nth-child(2)")]
    assert events == sorted(events, reverse=True)


def test_five_thousand_findings(
    show: Callable[..., Browser], record_property: Callable[[str, object], None]
) -> None:
    """Five thousand distinct findings: little in the document, all within reach."""
    report = sample_reports.huge(5000)
    browser = show(report)
    ready = browser.run("return performance.getEntriesByName('csptrace-ready')[0].startTime")
    record_property("milliseconds until the page was ready", round(ready))
    assert ready < 20_000, "this is a bound against a hang; reports/html has the measured time"
    assert browser.run("return document.querySelectorAll('*').length") < 3000
    assert browser.one(LIST).get_attribute("aria-rowcount") == "5001"

    browser.run("document.querySelector(arguments[0]).focus()", LIST)
    browser.keys("END")
    assert report.groups[-1].fingerprint in browser.text(".detail")
    assert len(browser.all(ROWS)) < 80

    browser.run("document.querySelector(arguments[0]).scrollTop = 2500 * 38", LIST)
    browser.frame()
    assert browser.all(f"{LIST} [data-index='2505']")

    browser.keys("/", report.groups[4321].fingerprint)
    assert browser.text(".tally [role=status]") == "1 of 5,000"
    assert report.groups[4321].fingerprint in browser.text(".detail")
    assert browser.logged() == []


def test_comparison(show: Callable[..., Browser]) -> None:
    """A comparison lists what changed with both counts, and filters by change."""
    browser = show(sample_reports.comparison())
    assert browser.texts(".tile .value") == ["1", "1", "1", "1", "12"]
    assert cells(browser, 2) == ["new", "grown", "shrunk", "fixed"]
    assert cells(browser, 3)[0] == "0 → 27"
    browser.click(".chip[data-level=grown]")
    assert cells(browser, 2) == ["grown"]


BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


def test_themes(show: Callable[..., Browser]) -> None:
    """The page follows the system until the button chooses."""
    browser = show()
    light = browser.run(BACKGROUND)
    browser.prefer("dark")
    dark = browser.run(BACKGROUND)
    assert light != dark

    browser.click("#theme")
    assert browser.run(BACKGROUND) == light
    assert browser.one("#theme").get_attribute("aria-label") == "Use the dark theme"
    browser.click("#theme")
    assert browser.run(BACKGROUND) == dark


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, under) =>
  [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const light = (colour) => colour.slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  const colours = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] > 0) colours.push(colour);
    if (colour[3] === 1) break;
  }
  return colours.reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
};
const poor = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const box = element.getBoundingClientRect();
  if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
  if (box.width < 3 || box.height < 3) continue;
  if (element.closest('script, style, noscript, .hidden, .skip, .faded, svg')) continue;
  const style = getComputedStyle(element);
  const ground = behind(element);
  const [a, b] = [light(over(rgba(style.color), ground)), light(ground)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const text = walker.currentNode.data.slice(0, 30);
  if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.className}: ${text}`);
}
return [...new Set(poor)];
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str, show: Callable[..., Browser]) -> None:
    """Every text of every view has the contrast of WCAG 2.2 AA (4.5 : 1) in both themes."""
    browser = show()
    browser.prefer(theme)
    browser.frame()
    for name in TABS:
        tab(browser, name)
        assert browser.run(CONTRAST) == [], name


NAMED = {
    "button",
    "checkbox",
    "combobox",
    "grid",
    "image",
    "searchbox",
    "tab",
    "tablist",
    "tabpanel",
    "textbox",
    "treegrid",
}


def test_everything_has_a_name(show: Callable[..., Browser]) -> None:
    """In the accessibility tree every control, list and view has a name."""
    browser = show()
    for name in TABS:
        tab(browser, name)
        nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
        unnamed = [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in NAMED
            and not node.get("name", {}).get("value")
        ]
        assert unnamed == [], name


def test_without_scripts(show: Callable[..., Browser], browser: Browser) -> None:
    """Where scripts may not run there is a table of the findings."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    page = show_static(show, browser)

    assert page.all("noscript table tr")
    assert len(page.all("noscript table tr")) == len(FLEET.groups) + 1
    assert FLEET.groups[0].fingerprint in page.one("noscript table").text


def show_static(show: Callable[..., Browser], browser: Browser) -> Browser:
    """Open the page without waiting for a frame, which would take a script."""
    wait, browser.frame = browser.frame, lambda: None  # type: ignore[method-assign]
    try:
        return show()
    finally:
        browser.frame = wait  # type: ignore[method-assign]


def test_print(show: Callable[..., Browser]) -> None:
    """On paper every view is there, and every finding of the list."""
    browser = show()
    document = browser.command("Page.printToPDF", printBackground=True)
    paper = base64.b64decode(document["data"])
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") >= 3

    browser.prefer("light", media="print")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    browser.frame()
    shown = browser.run(
        "return [...document.querySelectorAll('[role=tabpanel]')].map((p) => p.checkVisibility())"
    )
    assert shown == [True] * len(TABS)
    assert len(browser.all(ROWS)) == len(FLEET.groups)
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.logged() == []


@pytest.mark.parametrize("width", [420, 800, 1100, 1920])
def test_narrow_and_wide(width: int, show: Callable[..., Browser]) -> None:
    """The page itself never scrolls sideways."""
    browser = show()
    browser.resize(width, 800)
    for name in TABS:
        browser.run("document.getElementById(arguments[0]).click()", f"tab-{name}")
        browser.frame()
        assert browser.run("return document.documentElement.scrollWidth") <= width, name
