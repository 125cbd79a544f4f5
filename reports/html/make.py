"""Traces a small fleet, renders its logs, and photographs the page in Chromium.

    python -m pip install -e '.[test]' && python reports/html/make.py

The program is the folder `payments` beside this file: eighteen processes on the software CSP with
the mistakes people make. Its logs go through the analysis and the renderers; nothing is made up.
The page that is timed has 5,000 distinct findings, made by the tests' generator.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "render")]

import browsing  # noqa: E402 - found by the line above
import sample_reports  # noqa: E402 - likewise

from csptrace.analysis.render import FORMATS, Options  # noqa: E402 - likewise

ROLES = ("settlement", "webhooks", "audit")
DAYS = 6
PICTURES = (
    ("findings", "light", "findings"),
    ("findings-dark", "dark", "findings"),
    ("timeline", "dark", "timeline"),
    ("flame", "light", "flame"),
    ("handles", "dark", "handles"),
)
CHOOSE = """
const rows = [...document.querySelectorAll("#panel-findings [data-index]")];
rows.find((row) => row.innerText.includes("leaked-at-release"))?.click();
"""
ROUNDS = 5


def trace(logs: Path) -> None:
    """Run the fleet, three processes at a time."""
    for day in range(DAYS):
        running = []
        for role in ROLES:
            environ = {
                **os.environ,
                "CSPTRACE_EXIT_CODE": "0",
                "SOFTCSP_HOME": str(logs.parent / f"csp-{role}-{day}"),
                "PYTHONPATH": str(ROOT),
            }
            command = [sys.executable, "-m", "csptrace", "run", "--quiet", "--on-misuse", "log"]
            target = ["--log", str(logs), str(HERE / f"{role}.py"), str(day)]
            running.append(subprocess.Popen([*command, *target], cwd=HERE, env=environ))
        for process in running:
            if process.wait(timeout=120):
                raise SystemExit(f"a process of the fleet ended with {process.returncode}")


def report(logs: Path, form: str, file: Path, *more: str) -> None:
    """Write a report as people do."""
    command = [sys.executable, "-m", "csptrace", "report", str(logs), "--no-cache"]
    form_and_file = ["--title", "payments", "--format", form, "-o", str(file)]
    environ = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *form_and_file, *more], check=True, env=environ, timeout=120)


def main() -> None:
    """Make the pictures, the terminal report and the README beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        trace(logs)
        page, huge = Path(folder) / "report.html", Path(folder) / "huge.html"
        report(logs, "html", page, "--source", str(HERE))
        report(logs, "terminal", HERE / "terminal.txt")
        many = FORMATS["html"].report(sample_reports.huge(5000), Options())
        huge.write_text(many, encoding="utf-8", newline="")
        sizes = (page.stat().st_size, huge.stat().st_size)
        with browsing.chromium() as browser:
            browser.resize(1440, 900)
            for name, theme, tab in PICTURES:
                browser.prefer(theme)
                browser.open(page, tab)
                browser.frame()
                browser.run(CHOOSE)
                browser.frame()
                picture = browser.chrome.get_screenshot_as_png()
                (HERE / f"{name}.png").write_bytes(picture)
            browser.prefer("light")
            times = [timed(browser, huge) for _ in range(ROUNDS)]
            version = browser.chrome.capabilities["browserVersion"]
    (HERE / "README.md").write_text(text(times, sizes, version), encoding="utf-8", newline="")


def timed(browser: browsing.Browser, page: Path) -> tuple[float, float]:
    """Return when the page with all its rows was ready, and when it was first painted, in s."""
    browser.open(page)
    browser.frame()
    ready, painted = browser.chrome.execute_async_script(
        "const done = arguments[0];"
        "new PerformanceObserver((list) => {"
        "  const [paint] = list.getEntriesByName('first-contentful-paint');"
        "  const [ready] = performance.getEntriesByName('csptrace-ready');"
        "  if (paint) done([ready.startTime, paint.startTime]);"
        "}).observe({ type: 'paint', buffered: true })"
    )
    return ready / 1000, painted / 1000


def text(times: list[tuple[float, float]], sizes: tuple[int, int], version: str) -> str:
    """Return the README beside this file."""
    ready, painted = (statistics.median(each) for each in zip(*times, strict=True))
    worst = max(painted for _, painted in times)
    paint = f"{painted:.2f} s | {worst:.2f} s | {ready:.2f} s"
    return f"""# The HTML report in a real browser

Regenerate with `python -m pip install -e '.[test]' && python reports/html/make.py` (needs Chromium
and chromedriver). That traces the program in [payments](payments), eighteen processes on softcsp,
analyses their logs and photographs the page; `terminal.txt` is the same report for a terminal.

| page | size | first contentful paint, median of {ROUNDS} | slowest | ready, median |
|---|---|---|---|---|
| 5,000 distinct findings | {sizes[1] / 2**20:.1f} MiB | {paint} |

Target: first paint under 2 s: {"met" if worst < 2 else "missed"}. *Ready* is when the list, its
filters and the first story are in the page; the paint follows it. Chromium {version}, headless,
without a GPU, opened from a file, on {os.cpu_count()} cores that other work shared. The page of the
pictures has {sizes[0] / 2**10:.0f} KiB.

| | |
|---|---|
| ![Findings, light](findings.png) | ![Findings, dark](findings-dark.png) |
| ![Flame graph of the acquisition sites](flame.png) | ![Live handles over time](timeline.png) |
| ![The handles of one process as a tree](handles.png) | |
"""


if __name__ == "__main__":
    main()
