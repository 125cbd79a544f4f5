"""Run the conformance suite on every binding and write README.md beside this file.

    python reports/conformance/make.py

Needs the packages of `.[test,pkcs11]`, a C compiler, SoftHSM (Debian: `softhsm2`) and the Windows
environment (`python .ci/windows.py provision`).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
SUITE = TESTS / "conformance"
sys.path.insert(0, str(TESTS))

import windows_python  # noqa: E402 - found by the line above

WINDOWS = ("windows-ctypes", "windows-cffi", "windows-win32crypt")
TITLES = {"test_behaviours": "CryptoAPI", "test_behaviours_pkcs11": "PKCS#11"}
BINDINGS = (
    *("softcsp-ctypes", "softcsp-win32crypt", "fakecsp-cffi", *WINDOWS),
    *("ctypes exports", "ctypes function list", "PyKCS11", "python-pkcs11"),
)
TEXT = """\
# Conformance: every behaviour on every binding

The suites in `tests/conformance/` state each behaviour once and run unchanged on every binding.
`yes`: it holds. A number: the binding opted out of the case, for the reason below. `FAILED`: it
does not hold. The `windows-…` bindings are the genuine parts: Windows CPython 3.13, ctypes, cffi
and pywin32 on an independent advapi32, under Wine. PKCS#11 runs on SoftHSM.

{tables}

## Reasons

{reasons}

## Again

```console
$ python reports/conformance/make.py
```
"""


@dataclass
class Suite:
    """The behaviours of the suite and what became of them.

    Attributes:
        behaviours: file and name of a test → what it states.
        results: (file, test, binding) → `yes`, `FAILED`, or the reason for opting out.
    """

    behaviours: dict[tuple[str, str], str]
    results: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def bindings(self, file: str) -> list[str]:
        """Return the bindings that one file of the suite ran on."""
        return [name for name in BINDINGS if any(key[::2] == (file, name) for key in self.results)]


def behaviours() -> dict[tuple[str, str], str]:
    """Return the suite's behaviours: the first line of each test's docstring."""
    found = {}
    for path in sorted(SUITE.glob("test_behaviours*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = (ast.get_docstring(node) or "").splitlines()[0]
                found[path.stem, node.name] = text
    return found


def collect(suite: Suite, junit: str) -> None:
    """Add the results of one run, from pytest's JUnit XML."""
    for case in ET.fromstring(junit).iter("testcase"):
        test, _, parameters = case.attrib["name"].partition("[")
        file = case.attrib["classname"].rpartition(".")[2]
        if (file, test) not in suite.behaviours:
            continue
        # The binding stands beside the test's own parameters: `PyKCS11-warning-expected0`.
        names = [name for name in BINDINGS if f"-{name}-" in f"-{parameters.rstrip(']')}-"]
        if not names:
            continue  # about no binding in particular
        binding = max(names, key=len)
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result = "FAILED"
        elif skipped is not None:
            result = skipped.attrib["message"]
        else:
            result = "yes"
        key = (file, test, binding)
        before = suite.results.get(key, "yes")
        # Of a test with parameters of its own, the worst result counts.
        suite.results[key] = before if before == "FAILED" or result == "yes" else result


def run_here(files: list[str], target: Path) -> None:
    """Run the suite on the bindings of this machine."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    subprocess.run(
        [*command, f"--junitxml={target}", *files],
        cwd=windows_python.ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        check=False,
        timeout=1200,
        stdout=sys.stderr,
    )


def run_windows(files: list[str], binding: str, target: Path) -> None:
    """Run the suite on one binding of the genuine parts, in a process of its own."""
    name = windows_python.tool().windows_path(target)
    windows_python.environment().run(
        ["-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={name}", "-k", binding, *files],
        env={"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""},
        cwd=windows_python.ROOT,
        timeout=900,
    )


def written(suite: Suite) -> str:
    """Return the report."""
    numbers: dict[str, int] = {}
    tables: list[str] = []
    for file, title in TITLES.items():
        bindings = suite.bindings(file)
        lines = [
            f"## {title}\n",
            f"| behaviour | {' | '.join(bindings)} |",
            "|---|" + "---|" * len(bindings),
        ]
        for (where, test), text in suite.behaviours.items():
            if where == file:
                results = [suite.results.get((file, test, binding), "") for binding in bindings]
                cells = [
                    result
                    if result in ("", "yes", "FAILED")
                    else str(numbers.setdefault(result, len(numbers) + 1))
                    for result in results
                ]
                lines.append(f"| {text.rstrip('.')} (`{test}`) | {' | '.join(cells)} |")
        lines.append("")
        for binding in bindings:
            of = [result for key, result in suite.results.items() if key[::2] == (file, binding)]
            opted = len(of) - of.count("yes") - of.count("FAILED")
            lines.append(
                f"- {binding}: {of.count('yes')} hold, {of.count('FAILED')} fail, {opted} opted out"
            )
        tables.append("\n".join(lines))
    reasons = [f"{number}. {reason}" for reason, number in numbers.items()] or ["None."]
    return TEXT.format(tables="\n\n".join(tables), reasons="\n".join(reasons))


def main() -> int:
    """Run everything; exit status 1 if a behaviour does not hold, 3 if a part is missing."""
    if reason := windows_python.unavailable():
        print(reason, file=sys.stderr)
        return 3
    suite = Suite(behaviours())
    files = sorted({f"tests/conformance/{file}.py" for file, _ in suite.behaviours})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "here.xml"
        run_here(files, target)
        collect(suite, target.read_text("utf-8"))
        for binding in WINDOWS:
            target = Path(folder) / f"{binding}.xml"
            run_windows(files, binding, target)
            collect(suite, target.read_text("utf-8"))
    (HERE / "README.md").write_text(written(suite), encoding="utf-8", newline="\n")
    return int("FAILED" in suite.results.values())


if __name__ == "__main__":
    sys.exit(main())
