"""Every question, on both engines, against answers worked out by hand (see golden_logs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import golden_logs
from golden_logs import AA, BB, CC
from logbook import EPOCH, MS

from csptrace.analysis.grouping import siblings_text
from csptrace.analysis.results import (
    NOWHERE,
    Context,
    Cost,
    Frame,
    Held,
    Lifetime,
    Node,
    Place,
    Point,
    Problem,
    Step,
)

if TYPE_CHECKING:
    from csptrace.analysis.results import Report

PLACE = "/src/app.py"
MAIN = Frame("/src/main.py", 1, "main", "main", True)


def test_groups_hold_what_equal_findings_have_in_common(golden: Report) -> None:
    """Findings are grouped by fingerprint, with counts, times, hosts and scopes; errors first."""
    first, second, third = golden.groups

    assert (first.fingerprint, first.count, first.runs) == (AA, 2, 2)
    assert (first.first_seen, first.last_seen) == (EPOCH + 600 * MS, EPOCH + 4200 * MS)
    assert first.hosts == ("alpha", "beta")
    assert first.scopes == (("test_one", 1), ("test_two", 1))
    assert (first.code, first.severity) == ("leaked-at-release", "error")
    assert (first.api, first.kind) == ("cryptoapi", "HCRYPTKEY")
    assert (first.where, first.remedy) == ((PLACE, 20), "do not leaked-at-release")
    assert (second.fingerprint, second.count, second.runs) == (BB, 1, 1)
    assert (third.fingerprint, third.severity, third.hosts) == (CC, "info", ("alpha",))


def test_an_example_tells_the_whole_story(golden: Report) -> None:
    """A group's example is its first finding, with its stacks in the order of time."""
    example = golden.groups[0].example

    assert (example.run, example.ts, example.value) == ("aaaa", EPOCH + 600 * MS, "0x00000004")
    assert (example.age, example.uses, example.scope) == (300 * MS, 1, "test_one")
    assert example.steps == (
        Step(
            "acquired",
            "Acquire",
            "HCRYPTKEY acquired by Acquire",
            (
                Frame("/lib/binding0.py", 0, "call", "binding", False),
                Frame("/lib/binding1.py", 1, "call", "binding", False),
                Frame(PLACE, 20, "step20", "app", True),
                MAIN,
            ),
        ),
        Step(
            "exit",
            "",
            "step20() left it when it raised",
            (Frame(PLACE, 22, "step20", "", True),),
        ),
        Step(
            "ended",
            "Release",
            "HCRYPTPROV released by Release",
            (Frame(PLACE, 50, "step50", "app", True), MAIN),
        ),
    )


def test_siblings_say_what_became_of_the_others(golden: Report) -> None:
    """A leak counts the other handles from its place, and how the leaked ones left."""
    assert golden.groups[0].causes == (("raised/exception", 1),)
    assert siblings_text(golden.groups[0]) == (
        f"2 of 5 handles acquired at {PLACE}:20 were released, 1 at {PLACE}:30"
    )
    assert siblings_text(golden.groups[1]) == f"no other handle was acquired at {PLACE}:40"


def test_sites_count_what_was_acquired_and_how_it_ended(golden: Report) -> None:
    """A site counts by place, over stacks and runs; a handle's first end counts, inherited not."""
    found = [
        (site.kind, site.where, site.acquired, site.released, site.leaked, site.live)
        for site in golden.sites
    ]

    assert found == [
        ("HCRYPTKEY", Place(PLACE, 60), 4, 0, 4, 4),
        # 2 and 3 released, 4 invalidated, 10 handed over, 11 collected
        ("HCRYPTKEY", Place(PLACE, 20), 5, 2, 2, 0),
        ("HCRYPTPROV", Place(PLACE, 10), 2, 1, 1, 1),
        ("HCRYPTHASH", Place(PLACE, 40), 1, 0, 1, 0),
    ]
    assert {site.api for site in golden.sites} == {"cryptoapi"}
    assert golden.sites[0].stack == (Frame(PLACE, 60, "step60", "app", True), MAIN)


def test_growth_is_what_is_alive_more_at_the_end_than_at_half_time(golden: Report) -> None:
    """Three of the four keys of the killed run came in its second half."""
    assert [site.growth for site in golden.sites] == [3, -2, -1, 0]


def test_lifetimes_are_quantiles_of_buckets(golden: Report) -> None:
    """Both keys lived 300 ms: in the bucket of 35 times 2 ** 23 ns; the context 600 ms."""
    lifetimes = {site.where: site.lifetime for site in golden.sites}

    keys, context = 35 * 2**23 + 2**22, 35 * 2**24 + 2**23
    assert lifetimes == {
        Place(PLACE, 60): None,
        Place(PLACE, 20): Lifetime(keys, keys, keys, 300 * MS),
        Place(PLACE, 10): Lifetime(context, context, context, 600 * MS),
        Place(PLACE, 40): None,
    }


def test_sites_know_where_most_is_released(golden: Report) -> None:
    """The place of most releases is named; of two equal ones the first in order."""
    found = {site.where: (site.released_at, site.released_there) for site in golden.sites}

    assert found == {
        Place(PLACE, 60): (NOWHERE, 0),
        Place(PLACE, 20): (Place(PLACE, 30), 1),
        Place(PLACE, 10): (Place(PLACE, 50), 1),
        Place(PLACE, 40): (NOWHERE, 0),
    }


def test_runs_say_what_is_known_of_each_process(golden: Report) -> None:
    """Totals come from the closing event, and from the others where a run was killed."""
    found = {
        run.run: (run.finished, run.acquired, run.peak, run.live, run.findings)
        for run in golden.runs
    }

    assert found == {
        "aaaa": (True, 5, 4, 0, (("leaked-at-release", 2),)),
        "bbbb": (False, 5, 5, 5, ()),
        "cccc": (True, 2, 1, 0, (("lost", 1),)),
        "dddd": (True, 7, 3, 1, (("leaked-at-release", 1),)),
    }
    third = golden.runs[2]
    assert (third.host, third.pid, third.parent_run) == ("alpha", 13, "aaaa")
    assert (third.program, third.python, third.platform) == ("app.py", "3.13.0", "linux")
    assert (third.started, third.ended) == (EPOCH + 2000 * MS, EPOCH + 3000 * MS)
    assert [run.level for run in golden.runs] == ["acquire", "acquire", "acquire", "count"]


def test_timelines_follow_the_live_handles(golden: Report) -> None:
    """A run's second is cut into 120 stretches of 8,333,334 ns; highest peak first."""
    assert [run for run, _ in golden.timelines] == ["bbbb", "aaaa", "dddd", "cccc"]
    width = 8_333_334
    assert golden.timelines[0][1] == (
        Point(0, 1),
        Point(11 * width, 2),  # 100 ms
        Point(95 * width, 3),  # 800 ms
        Point(107 * width, 4),  # 900 ms
        Point(119 * width, 5),  # 1000 ms
    )
    assert golden.timelines[2][1] == (Point(119 * 4_166_667, 1),)


def test_held_names_the_handles_held_longest(golden: Report) -> None:
    """What never ended has been held until the last event of its run."""
    assert golden.held[:3] == (
        Held("bbbb", 1, "HCRYPTPROV", "0x00000001", "", 1000 * MS, "alive", Place(PLACE, 10)),
        Held("bbbb", 2, "HCRYPTKEY", "0x00000002", "", 900 * MS, "alive", Place(PLACE, 60)),
        Held("aaaa", 1, "HCRYPTPROV", "0x00000001", "box", 600 * MS, "released", Place(PLACE, 10)),
    )
    assert [(held.run, held.hid, held.age // MS, held.ended) for held in golden.held[3:]] == [
        ("aaaa", 2, 300, "released"),
        ("aaaa", 3, 300, "released"),
        ("aaaa", 4, 300, "invalidated"),
        ("bbbb", 3, 200, "alive"),
        ("bbbb", 4, 100, "alive"),
        ("cccc", 10, 100, "handed-over"),
        ("cccc", 11, 100, "collected"),
        ("aaaa", 5, 50, "invalidated"),
        ("bbbb", 5, 0, "alive"),
    ]


def test_contexts_say_what_was_under_them(golden: Report) -> None:
    """The released context took a hash and a key with it."""
    under = (("HCRYPTHASH", 1), ("HCRYPTKEY", 1))
    assert golden.contexts == (
        Context(
            "aaaa",
            1,
            "HCRYPTPROV",
            "0x00000001",
            "box",
            EPOCH + 600 * MS,
            Place(PLACE, 50),
            under,
        ),
    )


def test_the_graph_is_that_of_the_run_with_the_most_findings(golden: Report) -> None:
    """Every handle of the run is there, under its parent, with its end."""
    kinds = ("HCRYPTPROV", "HCRYPTKEY", "HCRYPTKEY", "HCRYPTKEY", "HCRYPTHASH")
    rows = (
        (0, 0, 600, "released", 10, ()),
        (1, 100, 400, "released", 20, ()),
        (1, 200, 500, "released", 20, ()),
        (1, 300, 600, "invalidated", 20, ()),
        (1, 550, 600, "invalidated", 40, (4,)),
    )

    assert (golden.graph_run, golden.graph_cut) == ("aaaa", 0)
    assert golden.graph == tuple(
        Node(
            hid,
            parent,
            kind,
            f"0x{hid:08x}",
            "box" if hid == 1 else "",
            at * MS,
            ended * MS,
            how,
            Place(PLACE, line),
            needs,
        )
        for hid, (kind, (parent, at, ended, how, line, needs)) in enumerate(
            zip(kinds, rows, strict=True), 1
        )
    )


def test_problems_repeat_what_traced_processes_said(golden: Report) -> None:
    """A notice is shown with how often it was said."""
    assert golden.problems == (Problem("missed", "x was bound too early", 1),)


def test_cost_adds_up_what_the_tracer_wrote(golden: Report) -> None:
    """Events and stacks of all runs; bytes and time of those that said so when they ended."""
    books = [
        golden_logs.leaky(),
        golden_logs.killed(),
        golden_logs.forked(),
        golden_logs.counted(),
    ]
    stacks = 7 + 2 + 5 + 0

    assert golden.cost == Cost(sum(len(book.events) for book in books), 1500, stacks, 50)


def test_every_file_is_counted(golden: Report) -> None:
    """Each source says how many events it held, and nothing else in these."""
    found = [(source.path.rpartition("/")[2], source.events) for source in golden.sources]

    assert found == [
        ("csptrace-alpha-11-1.1.jsonl.gz", len(golden_logs.leaky().events) - 9),
        ("csptrace-alpha-11-1.jsonl", 9),
        ("csptrace-beta-12-1.jsonl.zst", len(golden_logs.killed().events)),
        (
            "together.jsonl",
            len(golden_logs.forked().events) + len(golden_logs.counted().events),
        ),
    ]
    for source in golden.sources:
        assert (source.torn, source.foreign, source.other_schema) == (0, 0, ())
        assert source.unreadable == ""
        assert source.repeated == 0
