"""The pytest plugin: fail exactly the test that leaked a handle, and say why.

pytest loads this module in every run, so it imports nothing of csptrace until the plugin is
switched on by `--csptrace`, the ini option `csptrace` or `CSPTRACE=1`.

`options`           what is asked for: options, ini settings, environment
`importing`         imports what follows past the rewriting of assertions
`attribution`       whose handle it is: the scopes of tests, fixtures and collection
`policy`            what counts: markers, severity, baseline
`traced_session`    in the process that runs tests: follows them and judges
`retention`         what is still held of a test that is over, and may release a handle when it goes
`teardown_reports`  puts what was found into the reports of tests
`debugging`         where a debugger stops
`results`           where the results meet: verdicts, summary, files
`fixture`           what a test asks for by the name `csptrace`
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from csptrace.frontends.pytest_plugin.fixture import Csptrace

__all__: list[str] = []

_MARKER = (
    "csptrace(leaks='allow'|'forbid'|'only-mine', codes=..., kinds=..., reason=...): "
    "what this test may leave behind. 'allow' accepts findings, 'forbid' fails on them whatever "
    "else is configured, 'only-mine' overlooks what an installed library acquired. codes and "
    "kinds (a name or several) narrow it down; without codes it is about leaks."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini settings."""
    group = parser.getgroup("csptrace", "leaked and misused handles of cryptographic providers")

    def add(name: str, ini: str | None, text: str, **how: Any) -> None:
        group.addoption(name, dest=name[2:].replace("-", "_"), help=text, **how)
        if ini is not None:
            default: Any = {"bool": False, "args": []}.get(ini, "")
            parser.addini(name[2:].replace("-", "_"), f"as {name}", type=ini, default=default)  # type: ignore[arg-type]

    flag: dict[str, Any] = {"action": "store_true", "default": False}
    add("--csptrace", "bool", "trace provider handles and fail tests that leak them", **flag)
    add("--csptrace-log", "string", "write event logs (JSON Lines) into this folder", metavar="DIR")
    add("--csptrace-sarif", "string", "write the findings as SARIF 2.1.0", metavar="FILE")
    add("--csptrace-baseline", "string", "accept the findings in this file", metavar="FILE")
    add(
        "--csptrace-update-baseline",
        None,
        "rewrite the baseline so that it accepts what this run finds, instead of failing",
        **flag,
    )
    add(
        "--csptrace-strict-baseline",
        "bool",
        "fail if entries of the baseline no longer occur",
        **flag,
    )
    add("--csptrace-require", "bool", "fail if no traced call was made in the whole run", **flag)
    add("--csptrace-soft", "bool", "report findings, but do not fail", **flag)
    add(
        "--csptrace-fail-on",
        "string",
        "lowest severity that fails a test: info, warning (default), error",
        metavar="LEVEL",
    )
    packages: dict[str, Any] = {"metavar": "PACKAGE", "action": "append"}
    add("--csptrace-include", "args", "report only what touches this package", **packages)
    add("--csptrace-exclude", "args", "never count this package as your code", **packages)
    parser.addini(
        "csptrace_leaks",
        "for tests without a csptrace marker: allow, forbid or only-mine",
        default="",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start tracing before the first conftest.py is imported."""
    options = early_config.known_args_namespace
    if "no:csptrace" in (options.plugins or ()):  # workers of pytest-xdist load it all the same
        return
    if (
        options.csptrace
        or early_config.getini("csptrace")
        or os.environ.get("CSPTRACE", "").strip().lower() not in ("", "0", "false", "no", "off")
    ):
        # Only when it is on, and the second behind the first.
        from csptrace.frontends.pytest_plugin.importing import import_unchanged  # noqa: PLC0415

        import_unchanged(early_config)
        from csptrace.frontends.pytest_plugin import traced_session  # noqa: PLC0415

        traced_session.switch_on(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also where the plugin is off."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def csptrace(request: pytest.FixtureRequest) -> Csptrace:
    """What this test has acquired, leaked and misused; see `csptrace.frontends.pytest_plugin`."""
    traced = request.config.pluginmanager.get_plugin("csptrace-session")
    if traced is None:
        pytest.skip("csptrace is off; run pytest --csptrace")
    from csptrace.frontends.pytest_plugin.fixture import Csptrace  # noqa: PLC0415 - as above

    return Csptrace(traced, request)
