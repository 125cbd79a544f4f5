"""Reports made by hand: a small one, a fleet's, an empty one, a huge one and a hostile one.

The stacks of the first two are those of the program in `reports/html`, read from its source, so
that excerpts have something to quote.
"""

from __future__ import annotations

import ast
import dataclasses
import random
from functools import cache
from pathlib import Path
from typing import Any

from csptrace.analysis.results import (
    NOWHERE,
    Change,
    Comparison,
    Context,
    Cost,
    Example,
    Frame,
    Group,
    Held,
    Lifetime,
    Node,
    Place,
    Point,
    Problem,
    Report,
    Run,
    Siblings,
    Site,
    Source,
    Step,
)

PROJECT = Path(__file__).parents[2] / "reports" / "html"
BUILT = "/srv/ci/build/4711"
"""Where the traced machines had the program; it is elsewhere here."""
START = 1_764_000_000_000_000_000
SECOND = 1_000_000_000
UNKNOWN = Siblings(0, 0, NOWHERE, 0, NOWHERE, ended=False)
LIBRARY = "/usr/lib/python3.13/site-packages"


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse((PROJECT / file).read_text(encoding="utf-8"))


def frame(file: str, function: str, text: str) -> Frame:
    """Return the frame of the project in which a line has some text.

    Args:
        file: below the project's folder.
        function: qualified name.
        text: part of the line.
    """
    lines = (PROJECT / file).read_text(encoding="utf-8").splitlines()
    last = function.rpartition(".")[2]
    (node,) = (
        node
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == last
    )
    end = node.end_lineno or node.lineno
    (line,) = (n for n in range(node.lineno, end + 1) if text in lines[n - 1])
    module = file.removesuffix(".py").replace("/", ".")
    return Frame(f"{BUILT}/{file}", line, function, module, True)


def library(file: str, line: int, function: str) -> Frame:
    """Return a frame of somebody else's code."""
    module = file.removesuffix(".py").replace("/", ".")
    return Frame(f"{LIBRARY}/{file}", line, function, module, False)


def where(frame: Frame) -> Place:
    """Return the place of a frame."""
    return Place(frame.file, frame.line)


SIGNING = "payments/signing.py"
SETTLEMENT = "payments/settlement.py"
WEBHOOKS = "payments/webhooks.py"

WORKER = (
    library("celery/app/trace.py", 477, "build_tracer.<locals>.trace_task"),
    library("celery/worker/request.py", 759, "Request.execute"),
    library("billiard/pool.py", 362, "Worker.workloop"),
)
SERVER = (
    library("starlette/routing.py", 73, "request_response.<locals>.app"),
    library("starlette/middleware/errors.py", 164, "ServerErrorMiddleware.__call__"),
    library("uvicorn/protocols/http/h11_impl.py", 403, "RequestResponseCycle.run_asgi"),
)
CHECK = library("payments_native/provider.py", 31, "check.<locals>.call")

MAIN = frame(SETTLEMENT, "main", "settle(batch")
NEW_KEY = (
    CHECK,
    frame(SIGNING, "Signer.session_key", "CryptGenKey"),
    frame(SETTLEMENT, "settle", "signer.session_key"),
    MAIN,
    *WORKER,
)
NEW_HASH = (
    CHECK,
    frame(SIGNING, "Signer.digest", "CryptCreateHash"),
    frame(SETTLEMENT, "settle", "signer.digest"),
    MAIN,
    *WORKER,
)
NEW_CONTEXT = (
    CHECK,
    frame(SIGNING, "Signer.__init__", "CryptAcquireContextW"),
    frame(SETTLEMENT, "settle", 'Signer("settlement")'),
    MAIN,
    *WORKER,
)
CLOSE = (
    frame(SIGNING, "Signer.close", "CryptReleaseContext"),
    frame(SETTLEMENT, "settle", "signer.close"),
    MAIN,
    *WORKER,
)
DESTROY = frame(SETTLEMENT, "settle", "CryptDestroyKey")
RECEIVE = frame(WEBHOOKS, "main", "authenticate(")
WEB_KEY = (
    CHECK,
    frame(SIGNING, "Signer.session_key", "CryptGenKey"),
    frame(WEBHOOKS, "authenticate", "session_key"),
    RECEIVE,
    *SERVER,
)
WEB_HASH = (
    CHECK,
    frame(SIGNING, "Signer.mac", "CryptCreateHash"),
    frame(WEBHOOKS, "authenticate", "signer.mac"),
    RECEIVE,
    *SERVER,
)
WEB_CONTEXT = (
    CHECK,
    frame(SIGNING, "Signer.__init__", "CryptAcquireContextW"),
    frame(WEBHOOKS, "authenticate", "setdefault"),
    RECEIVE,
    *SERVER,
)
WEB_GONE = (frame(WEBHOOKS, "authenticate", "too early"), RECEIVE, *SERVER)
WEB_USE = (frame(WEBHOOKS, "authenticate", "CryptHashData"), RECEIVE, *SERVER)
ROTATE_AT = frame(WEBHOOKS, "rotate", "signer = ")
ROTATE = (CLOSE[0], ROTATE_AT._replace(line=ROTATE_AT.line + 1), *SERVER)
ROTATE_AGAIN = (CLOSE[0], ROTATE_AT._replace(line=ROTATE_AT.line + 2), *SERVER)


def example(**fields: Any) -> Example:
    """Return an example with fields that mostly do not matter filled in."""
    given = {
        "run": "run-1",
        "ts": START + 42 * SECOND,
        "value": "0x00a31140",
        "generation": 1,
        "name": "",
        "thread": "MainThread",
        "task": "",
        "scope": "",
        "age": 5 * SECOND,
        "uses": 3,
        "steps": (),
    }
    return Example(**{**given, **fields})


def group(**fields: Any) -> Group:
    """Return a group with fields that mostly do not matter filled in."""
    given = {
        "fingerprint": "1:0123456789abcdef",
        "code": "leaked-at-release",
        "severity": "error",
        "api": "cryptoapi",
        "kind": "HCRYPTKEY",
        "count": 1,
        "runs": 1,
        "first_seen": START + 42 * SECOND,
        "last_seen": START + 42 * SECOND,
        "hosts": ("ci-1",),
        "scopes": (),
        "causes": (),
        "where": where(NEW_KEY[1]),
        "remedy": "call CryptDestroyKey when the key is no longer needed (try/finally)",
        "siblings": UNKNOWN,
        "example": example(),
    }
    return Group(**{**given, **fields})


LEAKED_KEY = group(
    fingerprint="1:5c1e0a9be27d4f13",
    count=27,
    runs=6,
    last_seen=START + 3_000 * SECOND,
    hosts=("ci-1", "ci-2", "ci-3"),
    scopes=(("tests/test_settlement.py::test_void_payment", 15), ("nightly", 12)),
    causes=(("raised/exception", 24), ("returned/branch", 3)),
    remedy=(
        f"call CryptDestroyKey before CryptReleaseContext at {SIGNING}:{CLOSE[0].line}, also when "
        "an exception is raised in between (try/finally or a context manager)"
    ),
    siblings=Siblings(18_967, 18_940, where(DESTROY), 18_940, NOWHERE, ended=False),
    example=example(
        name="settlement",
        scope="tests/test_settlement.py::test_void_payment",
        age=1_460_000_000,
        uses=0,
        steps=(
            Step("acquired", "CryptGenKey", "acquired by CryptGenKey", NEW_KEY),
            Step(
                "exit",
                "",
                "Signer.session_key was left by RuleError",
                (frame(SIGNING, "Signer.session_key", "rules.parse"), *NEW_KEY[2:]),
            ),
            Step(
                "ended",
                "CryptReleaseContext",
                "provider context released by CryptReleaseContext",
                CLOSE,
            ),
        ),
    ),
)
STALE_HASH = group(
    fingerprint="1:6b875eb679e6b2cc",
    code="stale-dependency",
    kind="HCRYPTHASH",
    count=9,
    runs=2,
    hosts=("web-1", "web-2"),
    scopes=(("POST /webhooks", 9),),
    where=where(WEB_USE[0]),
    remedy="keep the key until this hash is finished",
    siblings=Siblings(13, 4, where(WEB_GONE[0]), 3, where(WEB_HASH[0]), ended=True),
    example=example(
        value="0x00a31180",
        generation=3,
        thread="worker-2",
        task="request-88",
        scope="POST /webhooks",
        age=830_000,
        uses=1,
        steps=(
            Step("acquired", "CryptCreateHash", "acquired by CryptCreateHash", WEB_HASH),
            Step("ended", "CryptDestroyKey", "key released by CryptDestroyKey", WEB_GONE),
            Step("misused", "CryptHashData", "misused by CryptHashData", WEB_USE),
        ),
    ),
)
DOUBLE_CONTEXT = group(
    fingerprint="1:90c3a7d1be5502fa",
    code="double-release",
    severity="warning",
    kind="HCRYPTPROV",
    count=2,
    runs=1,
    hosts=("web-1",),
    where=where(ROTATE[0]),
    remedy="remove one of the two releases; the first is at payments/webhooks.py:30",
    example=example(
        value="0x00a30f00",
        age=61 * 60 * SECOND,
        uses=812,
        steps=(
            Step("acquired", "CryptAcquireContextW", "", WEB_CONTEXT),
            Step("ended", "CryptReleaseContext", "", ROTATE),
            Step("misused", "CryptReleaseContext", "", ROTATE_AGAIN),
        ),
    ),
)
LOST_HASH = group(
    fingerprint="1:aa00000000000001",
    code="lost",
    severity="info",
    kind="HCRYPTHASH",
    where=NOWHERE,
    remedy="call CryptDestroyHash yourself, before the context is released",
    example=example(age=-1, uses=0),
)


def run(number: int, **fields: Any) -> Run:
    """Return a run with fields that mostly do not matter filled in."""
    given = {
        "run": f"run-{number}",
        "host": f"ci-{number % 3 + 1}",
        "pid": 4000 + number,
        "parent_run": "",
        "program": "settle",
        "python": "3.13.0",
        "platform": "linux",
        "level": "acquire",
        "started": START + number * 7 * SECOND,
        "ended": START + (600 + number * 7) * SECOND,
        "finished": True,
        "acquired": 1000,
        "peak": 12,
        "live": 0,
        "findings": (("leaked-at-release", 2),),
    }
    return Run(**{**given, **fields})


def site(stack: tuple[Frame, ...], kind: str, **fields: Any) -> Site:
    """Return a site with fields that mostly do not matter filled in."""
    own = next((place for place in stack if place.user), stack[0])
    given = {
        "api": "cryptoapi",
        "kind": kind,
        "where": where(own),
        "stack": stack,
        "acquired": 100,
        "released": 100,
        "leaked": 0,
        "live": 0,
        "growth": 0,
        "lifetime": Lifetime(2_100_000, 8_400_000, 90_000_000, 1_800_000_000),
        "released_at": where(DESTROY),
        "released_there": 97,
    }
    return Site(**{**given, **fields})


SITES = (
    site(NEW_KEY, "HCRYPTKEY", acquired=18_967, released=18_940, leaked=27, growth=9),
    site(WEB_HASH, "HCRYPTHASH", acquired=5_213, released=5_204, leaked=9, live=9, growth=4),
    site(NEW_HASH, "HCRYPTHASH", acquired=18_960, released=18_957, leaked=3),
    site(WEB_KEY, "HCRYPTKEY", acquired=5_213, released=5_213),
    site(NEW_CONTEXT, "HCRYPTPROV", acquired=620, released=620),
    site(
        WEB_CONTEXT,
        "HCRYPTPROV",
        acquired=14,
        released=2,
        live=12,
        growth=6,
        lifetime=None,
        released_at=NOWHERE,
        released_there=0,
    ),
)


def nodes() -> tuple[Node, ...]:
    """Return a handle graph: two contexts, what lives under them, and a hash that needs a key."""
    new_key, new_hash = where(NEW_KEY[1]), where(NEW_HASH[1])
    context = where(NEW_CONTEXT[1])
    return (
        Node(
            1, 0, "HCRYPTPROV", "0x00a30f00", "settlement", 0, 9 * SECOND, "released", context, ()
        ),
        Node(2, 1, "HCRYPTKEY", "0x00a31100", "", SECOND, 9 * SECOND, "invalidated", new_key, ()),
        Node(
            3, 1, "HCRYPTHASH", "0x00a31140", "", 2 * SECOND, 3 * SECOND, "released", new_hash, (2,)
        ),
        Node(4, 0, "HCRYPTPROV", "0x00a30f40", "", 4 * SECOND, -1, "alive", context, ()),
        Node(5, 4, "HCRYPTKEY", "0x00a31180", "", 5 * SECOND, 6 * SECOND, "collected", new_key, ()),
    )


def small() -> Report:
    """Return a report with a little of everything."""
    runs = (
        run(1, peak=4, acquired=5, live=1),
        run(2, host="web-1", program="webhooks", finished=False, parent_run="run-1", findings=()),
    )
    return Report(
        sources=(
            Source(
                path="logs/csptrace-ci-1-4001-1.jsonl",
                events=120,
                torn=0,
                foreign=0,
                other_schema=(),
                unreadable="",
            ),
            Source(
                path="logs/csptrace-web-1-4002-1.jsonl.zst",
                events=98,
                torn=1,
                foreign=2,
                other_schema=(("2", 7),),
                unreadable="the compressed data end early",
            ),
        ),
        runs=runs,
        groups=(LEAKED_KEY, STALE_HASH, DOUBLE_CONTEXT, LOST_HASH),
        sites=SITES,
        timelines=(
            ("run-1", (Point(0, 1), Point(SECOND, 2), Point(3 * SECOND, 4), Point(9 * SECOND, 1))),
            ("run-2", (Point(0, 3),)),
        ),
        held=(
            Held("run-1", 4, "HCRYPTPROV", "0x00a30f40", "", 600 * SECOND, "alive", SITES[4].where),
            Held(
                "run-1",
                1,
                "HCRYPTPROV",
                "0x00a30f00",
                "settlement",
                9 * SECOND,
                "released",
                NOWHERE,
            ),
        ),
        contexts=(
            Context(
                "run-1",
                1,
                "HCRYPTPROV",
                "0x00a30f00",
                "settlement",
                START + 16 * SECOND,
                where(CLOSE[0]),
                (("HCRYPTHASH", 1), ("HCRYPTKEY", 3)),
            ),
        ),
        graph_run="run-1",
        graph=nodes(),
        graph_cut=0,
        problems=(Problem("late", "win32crypt was imported before tracing began", 3),),
        cost=Cost(218, 84_000, 9, 1_500_000),
    )


def empty() -> Report:
    """Return a report of no logs at all."""
    return Report(
        sources=(),
        runs=(),
        groups=(),
        sites=(),
        timelines=(),
        held=(),
        contexts=(),
        graph_run="",
        graph=(),
        graph_cut=0,
        problems=(),
        cost=Cost(0, 0, 0, -1),
    )


def comparison() -> Comparison:
    """Return a comparison with every sort of change."""
    return Comparison(
        old_runs=4,
        new_runs=6,
        changes=(
            Change("new", 0, 27, LEAKED_KEY),
            Change("grown", 3, 9, STALE_HASH),
            Change("shrunk", 4, 2, DOUBLE_CONTEXT),
            Change("fixed", 1, 0, LOST_HASH),
        ),
        unchanged=12,
    )


def nothing_changed() -> Comparison:
    """Return a comparison of two equal sets of logs."""
    return Comparison(old_runs=1, new_runs=1, changes=(), unchanged=0)


# --- a fleet ----------------------------------------------------------------------------------

_PLACES = (
    ("payments/batch.py", "BatchJob.sign_all", "CryptGenKey", "HCRYPTKEY"),
    ("payments/batch.py", "BatchJob.verify", "CryptCreateHash", "HCRYPTHASH"),
    ("payments/reports.py", "monthly_statement", "CryptCreateHash", "HCRYPTHASH"),
    ("payments/tokens.py", "TokenVault.open", "CryptAcquireContextW", "HCRYPTPROV"),
    ("payments/tokens.py", "TokenVault.wrap", "CryptImportKey", "HCRYPTKEY"),
    ("payments/tokens.py", "TokenVault.derive", "CryptDeriveKey", "HCRYPTKEY"),
    ("payments/partners.py", "Partner.load_certificate", "CryptGetUserKey", "HCRYPTKEY"),
    ("payments/audit.py", "AuditTrail.seal", "CryptDuplicateHash", "HCRYPTHASH"),
)
_CODES = (
    ("leaked-at-release", "error"),
    ("leaked-at-exit", "error"),
    ("use-after-release", "error"),
    ("out-of-order-release", "warning"),
    ("lost", "warning"),
    ("failed-release", "info"),
)


def fleet(seed: int = 7) -> Report:
    """Return what a fleet of 24 processes on six machines might leave behind."""
    chance = random.Random(seed)
    base = small()
    groups, sites = [_many(LEAKED_KEY, 64), STALE_HASH, DOUBLE_CONTEXT], list(SITES)
    hosts = ("ci-1", "ci-2", "ci-3", "web-1", "web-2", "batch-1")
    runs = []
    timelines = []
    for number in range(24):
        host = hosts[number % 6]
        length = chance.randrange(500, 620) * SECOND
        points, live, at = [Point(0, 0)], 0, 0
        rising = number % 8 == 3
        while at < length:
            live = max(0, live + chance.choice((-4, -3, -2, -1, 1, 2, 3, 4)))
            floor = int(34 * at / length) if rising else 0
            live = max(floor, min(live, floor + 26))
            points.append(Point(at, live))
            at += chance.randrange(1, 6) * SECOND
        runs.append(
            run(
                number,
                run=f"{chance.getrandbits(48):012x}",
                host=host,
                program=("settle", "settle", "settle", "webhooks", "webhooks", "batch")[number % 6],
                ended=START + number * 7 * SECOND + length,
                finished=number % 11 != 5,
                acquired=chance.randrange(400, 4000),
                peak=max(point.live for point in points),
                live=points[-1].live if rising else 0,
                findings=(("leaked-at-release", chance.randrange(1, 9)),) if number % 3 else (),
            )
        )
        timelines.append((runs[-1].run, tuple(points)))
    for number in range(44):
        file, function, call, kind = _PLACES[number % len(_PLACES)]
        code, severity = _CODES[(number * 5 + number // 8) % len(_CODES)]
        line = 20 + number * 7
        own = Frame(f"{BUILT}/{file}", line, function, file[:-3].replace("/", "."), True)
        outer = Frame(f"{BUILT}/{SETTLEMENT}", 27, "main", "payments.settlement", True)
        stack = (CHECK, own, outer, *(WORKER if number % 2 else SERVER))
        count = max(1, int(60 / (number + 2)) + chance.randrange(3))
        steps = [Step("acquired", call, f"acquired by {call}", stack)]
        if code != "leaked-at-exit":
            steps.append(
                Step("ended", "CryptReleaseContext", "released by CryptReleaseContext", CLOSE)
            )
        groups.append(
            group(
                fingerprint=f"1:{chance.getrandbits(64):016x}",
                code=code,
                severity=severity,
                kind=kind,
                count=count,
                runs=min(count, chance.randrange(1, 9)),
                first_seen=START + chance.randrange(60) * SECOND,
                last_seen=START + chance.randrange(60, 600) * SECOND,
                hosts=tuple(sorted(chance.sample(hosts, chance.randrange(1, 4)))),
                scopes=(
                    (f"tests/test_{file[9:-3]}.py::test_{function.rpartition('.')[2]}", count),
                ),
                where=where(own),
                example=example(
                    run=chance.choice(runs).run,
                    value=f"0x{chance.getrandbits(24) * 64:08x}",
                    age=chance.randrange(10**6, 10**11),
                    uses=chance.randrange(9),
                    steps=tuple(steps),
                ),
            )
        )
        acquired = chance.randrange(50, 9000)
        sites.append(
            site(
                stack,
                kind,
                acquired=acquired,
                released=acquired - count,
                leaked=count,
                live=count // 2,
                growth=count // 3,
            )
        )
    rank = {"error": 0, "warning": 1, "info": 2}
    groups.sort(key=lambda each: (rank[each.severity], -each.count))
    sites.sort(key=lambda each: -each.leaked)
    return dataclasses.replace(
        base,
        sources=tuple(
            Source(
                path=f"logs/csptrace-{each.host}-{each.pid}-{index}.jsonl",
                events=each.acquired * 2 + 20,
                torn=int(not each.finished),
                foreign=0,
                other_schema=(),
                unreadable="",
            )
            for index, each in enumerate(runs)
        ),
        runs=tuple(runs),
        groups=tuple(groups),
        sites=tuple(sites),
        timelines=tuple(timelines),
        graph_run=runs[3].run,
        graph=_forest(chance, runs[3].ended - runs[3].started),
        graph_cut=1312,
        held=tuple(
            Held(
                chance.choice(runs).run,
                number,
                ("HCRYPTPROV", "HCRYPTKEY")[number % 2],
                f"0x{chance.getrandbits(24) * 64:08x}",
                "settlement" if number % 4 == 0 else "",
                (600 - number * 20) * SECOND,
                "alive" if number % 3 == 0 else "released",
                sites[number].where,
            )
            for number in range(12)
        ),
        cost=Cost(sum(each.acquired * 2 + 20 for each in runs), 41_000_000, 96, 820_000_000),
    )


def _many(of: Group, count: int) -> Group:
    share = (("raised/exception", count - 11), ("returned/branch", 11))
    return dataclasses.replace(of, count=count, causes=share)


def _forest(chance: random.Random, length: int) -> tuple[Node, ...]:
    made: list[Node] = []
    for context in range(14):
        start = context * length // 16
        how = "alive" if context in (5, 11) else "released"
        end = -1 if how == "alive" else start + length // chance.randrange(6, 14)
        top = len(made) + 1
        place = where((WEB_CONTEXT if context % 4 == 3 else NEW_CONTEXT)[1])
        name = "settlement" if context % 3 == 0 else ""
        made.append(Node(top, 0, "HCRYPTPROV", _value(chance), name, start, end, how, place, ()))
        key = 0
        for child in range(chance.randrange(4, 14)):
            begin = start + (child + 1) * length // 400
            leaks = how == "released" and chance.random() < 0.16
            kind = "HCRYPTHASH" if child % 2 else "HCRYPTKEY"
            until = end if leaks or end < 0 else begin + length // chance.randrange(60, 200)
            until = min(until, end) if end > 0 else until
            state = "alive" if until < 0 else "invalidated" if leaks else "released"
            hid = len(made) + 1
            origin = where((NEW_HASH if child % 2 else NEW_KEY)[1])
            needs = (key,) if key and child % 4 == 1 else ()
            made.append(
                Node(hid, top, kind, _value(chance), "", begin, until, state, origin, needs)
            )
            key = hid if kind == "HCRYPTKEY" else key
    return tuple(made)


def _value(chance: random.Random) -> str:
    return f"0x{0xA30000 + chance.getrandbits(14) * 64:08x}"


# --- huge, and hostile ------------------------------------------------------------------------


def huge(number: int = 5000) -> Report:
    """Return a report with that many distinct findings, each with stacks of sixteen frames."""
    chance = random.Random(number)
    base = fleet()
    groups = []
    for index in range(number):
        own = [
            Frame(
                f"{BUILT}/payments/generated/module_{index % 97}.py",
                chance.randrange(1, 900),
                f"Handler{index % 131}.step_{depth}",
                f"payments.generated.module_{index % 97}",
                True,
            )
            for depth in range(8)
        ]
        stack = (CHECK, *own, *WORKER, *SERVER, CHECK)
        code, severity = _CODES[index % len(_CODES)]
        groups.append(
            group(
                fingerprint=f"1:{chance.getrandbits(64):016x}",
                code=code,
                severity=severity,
                kind=("HCRYPTKEY", "HCRYPTHASH", "HCRYPTPROV")[index % 3],
                count=number - index,
                hosts=(f"host-{index % 40}",),
                where=where(own[0]),
                example=example(
                    steps=(
                        Step("acquired", "CryptGenKey", "", stack),
                        Step("ended", "CryptReleaseContext", "", stack[2:]),
                    )
                ),
            )
        )
    return dataclasses.replace(base, groups=tuple(groups))


HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "<!-- <script </script x",
    "\x1b[31mred\x1b[0m \x1b]0;owned\x07",
    "[bold red]markup[/bold red] :skull:",
    "a\nb\r\n::error::c\td",
    "\"quoted\" 'twice' \\ back\\slash\\",
    "]]> <!-- & &amp; &#x41; -->",
    "```\n# heading\n| cell | `code` [link](javascript:alert(1)) @octocat <b>",
    "\u202edesrever\u202c \u2066\u2069\u200b\u200d\ufe0f\x9b31m\x00\x7f\ufffe\udc80",
    'end\n```\nsubgraph x; click n1 href "javascript:alert(1)"; %%{init: {}}%%',
    "x" * 5000,
    "a;b;c 12",
    "",
    "$title ${data} {{ data }} %s",
)


def hostile() -> Report:
    """Return a report in which every text is hostile, in turn."""
    turn = iter(range(10**9))

    def text() -> str:
        return HOSTILE[next(turn) % len(HOSTILE)]

    def spoil(value: Any, name: str = "") -> Any:
        if name in ("run", "graph_run", "parent_run", "severity", "how", "role", "ended"):
            return value
        if isinstance(value, str):
            return text() or ("code" if name == "code" else "")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return type(value)(
                **{
                    field.name: spoil(getattr(value, field.name), field.name)
                    for field in dataclasses.fields(value)
                }
            )
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(
                **{key: spoil(each, key) for key, each in zip(value._fields, value, strict=True)}
            )
        if isinstance(value, tuple):
            return tuple(spoil(each) for each in value)
        return value

    report = small()
    more = tuple(
        dataclasses.replace(each, fingerprint=f"1:{index:016x}")
        for index in range(len(HOSTILE))
        for each in report.groups[:1]
    )
    spoiled: Report = spoil(dataclasses.replace(report, groups=(*report.groups, *more)))
    return spoiled


def hostile_comparison() -> Comparison:
    """Return a comparison in which every text is hostile."""
    return Comparison(
        old_runs=1,
        new_runs=1,
        changes=tuple(
            Change(what, 1, 2, group)
            for what, group in zip(
                ("new", "grown", "shrunk", "fixed") * 9, hostile().groups, strict=False
            )
        ),
        unchanged=0,
    )
