"""What traced programs write agrees with the schema, event by event and as a whole."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from event_runs import check_log

from csptrace.events import schema
from csptrace.findings.catalogue import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_runs import Event, Run

VALIDATOR = jsonschema.Draft202012Validator(schema.json_schema())
REGENERATE = (
    "csptrace/events/schema.json is out of date. Write it again:\n"
    'python -c "import json; from csptrace.events.schema import json_schema; '
    "open('csptrace/events/schema.json', 'w', encoding='utf-8')"
    '.write(json.dumps(json_schema(), indent=2) + chr(10))"'
)
SCENARIOS = [code.value.replace("-", "_") for code in Code]
SCENARIOS += ["siblings", "named", "reused", "nothing", "used"]
LEVELS = ("count", "acquire", "full")

# Sorts of events that the scenarios of tests/golden/program.py leave out.
FURTHER = """
import asyncio, ctypes
import csptrace
from csptrace.softcsp import advapi32
import program

tracer = csptrace.start()
advapi32.CryptContextAddRef(context := program.acquire(), None, 0)
with tracer.scope("outer \\udcff"):
    program.generate(context)
    with tracer.scope("inner"):
        program.generate(context)
advapi32.CryptReleaseContext(context, 0)
advapi32.CryptReleaseContext(context, 0)

async def work():
    advapi32.CryptDestroyKey(program.generate(other := program.acquire()))
    advapi32.CryptReleaseContext(other, 0)

async def main():
    await asyncio.gather(*(asyncio.create_task(work(), name=f"task {n}") for n in range(3)))

asyncio.run(main())
# Released behind the tracer's back: the value comes again, although no release was seen.
gone = program.acquire()
key = program.generate(gone)
native = advapi32.CryptReleaseContext.__wrapped__
assert native(gone, 0)
advapi32.CryptReleaseContext(program.acquire(), 0)
"""


def _validate(events: list[Event]) -> None:
    for event in events:
        error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(event))
        assert error is None, f"{event['event']}: {error.message if error else ''}\n{event}"


def test_shipped_schema_is_the_generated_one() -> None:
    """The schema in the package is the one that the code generates."""
    assert schema.shipped() == json.loads(json.dumps(schema.json_schema())), REGENERATE


def test_schema_is_a_schema() -> None:
    """The schema follows its own standard."""
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_events_of_every_scenario(name: str, level: str, scenario: Callable[..., Run]) -> None:
    """Every event that a program with one sort of bug writes is as the schema says."""
    done = scenario(name, level=level)

    _validate(done.log)
    check_log(done.log)
    found = {event["code"] for event in done.named("finding")}
    if name.replace("_", "-") in set(Code):
        assert name.replace("_", "-") in found


@pytest.mark.parametrize("level", LEVELS)
def test_every_sort_of_event_and_way_of_release(level: str, run: Callable[..., Run]) -> None:
    """Scopes, tasks, references and unseen releases are as the schema says, too."""
    done = run("-c", FURTHER, level=level)
    assert done.status == 0, done.err

    _validate(done.log)
    check_log(done.log)
    if level == "count":
        expected = {"run_started", "finding", "scope_ended", "run_ended"}
        assert {event["event"] for event in done.log} == {f"csptrace.{name}" for name in expected}
        return
    assert {event["how"] for event in done.named("handle_released")} == {
        "released",
        "reference",
        "unseen",
    }
    assert {event["scope"] for event in done.named("scope_ended")} == {"outer \\udcff", "inner"}
    tasks = {event.get("task") for event in done.named("handle_acquired")}
    assert tasks == {None, "task 0", "task 1", "task 2"}


def test_every_event_of_the_schema_is_written(
    run: Callable[..., Run], scenario: Callable[..., Run]
) -> None:
    """No event stands in the schema that no program writes."""
    written = {event["event"] for event in run("-c", FURTHER).log}
    # The second run adds a file to the same folder.
    names = ("lost", "leaked_at_release", "release_while_in_use", "held_too_long")
    written |= {e["event"] for log in scenario(*names).logs for e in log}

    assert written == set(schema.EVENTS)


def test_findings_refer_to_what_happened(scenario: Callable[..., Run]) -> None:
    """A finding leads to the handle, its parent, the stacks and the place in the user's code."""
    done = scenario("out_of_order_release")
    acquired = {event["hid"]: event for event in done.named("handle_acquired")}
    stacks = {event["stack"]: event["frames"] for event in done.named("stack")}
    leaked, misused = done.named("finding")

    for finding in (leaked, misused):
        key = acquired[finding["hid"]]
        assert key["kind"] == finding["kind"] == "HCRYPTKEY"
        assert finding["parents"] == [key["parent"]]
        assert finding["culprit"] == key["parent"]
        assert acquired[key["parent"]]["kind"] == finding["culprit_kind"] == "HCRYPTPROV"
        assert finding["acquired_stack"] == key["stack"]
        assert finding["acquired_by"] == "CryptGenKey"
        assert finding["ended_by"] == "CryptReleaseContext"
        assert stacks[finding["acquired_stack"]][0][2] == "generate"
        assert stacks[finding["ended_stack"]][0][2] == "out_of_order_release"
    assert misused["misused_by"] == "CryptDestroyKey"
    file, line = misused["where_file"], misused["where_line"]
    frame = stacks[misused["misused_stack"]][0]
    assert [file, line, "out_of_order_release", "program", True] == frame
    assert Path(file).name == "program.py"
    assert (leaked["severity"], misused["severity"]) == ("warning", "error")


def test_last_use_only_at_level_full(scenario: Callable[..., Run]) -> None:
    """The last use stands in findings at level `full`, and nowhere else."""
    for number, level in enumerate(LEVELS):
        found = scenario("used", level=level).named("finding")[number]
        assert found.get("last_use_by") == ("CryptGetKeyParam" if level == "full" else None)
        assert ("last_use_stack" in found) == (level == "full")
        assert found["uses"] == 1


def test_no_stacks_at_level_count(scenario: Callable[..., Run]) -> None:
    """At level `count` findings have no stacks, and handles no events."""
    done = scenario("use_after_invalidation", level="count")

    for finding in done.named("finding"):
        assert (finding["acquired_stack"], finding["ended_stack"], finding["misused_stack"]) == (
            0,
            0,
            0,
        )
        assert "where_file" not in finding
    assert done.log[-1]["acquired"] == 2


@pytest.mark.parametrize(
    ("redact", "shown"), [(False, "Müller \x1b[31m & Söhne"), (True, "<redacted>")]
)
def test_names(redact: object, shown: str, scenario: Callable[..., Run]) -> None:
    """Acquisition and finding tell the container's name; with `redact_names` no event does."""
    done = scenario("named", redact_names=redact)
    _validate(done.log)

    named = done.named("handle_acquired") + done.named("finding")
    assert [event["name"] for event in named] == [shown, shown]
    assert ("ller" in json.dumps(done.log, ensure_ascii=False)) is not redact


ODD_NAMES = {
    "surrogate": "low \udc80 high \ud800 end",
    "controls": "a\r\nb\tc\x1b]0;title\x07\x7f\x85\u2028\u202e",
    "astral": "\N{GRINNING FACE}\N{CJK UNIFIED IDEOGRAPH-4E00}",
    "json": '", "code": "forged", "x": "',
    "long": "n" * 5000,
    "windows": r"\\.\HDIMAGE\test",
}


@pytest.mark.parametrize("sort", ODD_NAMES)
def test_odd_container_names(sort: str, run: Callable[..., Run]) -> None:
    """Whatever a container is called, each event stays one line of valid JSON."""
    name = ODD_NAMES[sort]
    program = f"""
import csptrace, program
from csptrace.softcsp import win32crypt
csptrace.start()
try:
    program.acquire({name!r})
except AssertionError:
    raise SystemExit(7)
"""
    done = run("-c", program)
    if done.status == 7:
        pytest.skip("the software provider refuses such a name")
    assert done.status == 0, done.err
    _validate(done.log)
    check_log(done.log)
    (acquired,) = done.named("handle_acquired")
    assert acquired["name"] == name.encode("utf-8", "backslashreplace").decode()
    printable = done.err.replace("\n", "")
    assert printable.isprintable(), "nothing reaches the terminal that could control it"


def _spoil(event: Event) -> dict[str, Event]:
    """Return wrong versions of an event, by what is wrong."""
    wrong = {}
    for field, value in event.items():
        other: Any = 1 if isinstance(value, str) else "text"
        wrong[f"{field} of another type"] = {**event, field: other}
    extra = copy.deepcopy(event)
    extra["argument"] = "pbData"
    wrong["a further field"] = extra
    wrong["another version"] = {**event, "schema": schema.SCHEMA + 1}
    return wrong


def test_schema_refuses_what_is_wrong(scenario: Callable[..., Run]) -> None:
    """The schema lets no further field, no missing one and no other type through."""
    required = {
        name: set(fields) | {"event", "schema", "run", "pid", "seq", "ts", "mono"}
        for name, (fields, _) in schema.EVENTS.items()
    }
    for event in scenario("leaked_at_release", "siblings", "lost").log:
        assert VALIDATOR.is_valid(event)
        for what, spoilt in _spoil(event).items():
            assert not VALIDATOR.is_valid(spoilt), f"{event['event']}: {what}"
        for field in required[event["event"]]:
            without = {name: value for name, value in event.items() if name != field}
            assert not VALIDATOR.is_valid(without), f"{event['event']} without {field}"


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_one_log_for_a_process_and_only_its_owner_reads_it(
    scenario: Callable[..., Run], tmp_path: Path
) -> None:
    """Each process has a file of its own that names it, 0600 in 0700 whatever the umask is."""
    before = os.umask(0)
    try:
        scenario("nothing")
        done = scenario("nothing")
    finally:
        os.umask(before)
    files = list((tmp_path / "logs").iterdir())

    assert len(done.logs) == len(files) == 2
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    for log in done.logs:
        start = f"csptrace-{log[0]['host']}-{log[0]['pid']}-"
        (file,) = (file for file in files if file.name.startswith(start))
        assert file.name.removeprefix(start).removesuffix(".jsonl").isdecimal()
        assert file.stat().st_mode & 0o777 == 0o600
