"""Every question to the logs, defined once, as SQL that DuckDB and Spark both run word for word.

An engine reads logs into the relations of `INPUTS` and runs `PARTIALS`, each of which may refer to
the inputs and to those before it. What is in `KEPT` is the partial answer of one unit: files that
share no run with other files. A handle never leaves its process, so the partial answers of many
units only have to be put together: `MERGES` run on their union and give what `assembly` turns
into a `Report`. Running `PARTIALS` once on everything gives the same.

What makes the text portable: no quoted identifiers, no string with a backslash, sums cast to
BIGINT, division only in floating point, and ties broken in every order. `REGEXP_EXTRACT` has three
arguments and `MAX_BY` an ordering that is never null.

How a handle ends is decided by the first of its events that ends it or the program's duty:
a handle that was handed over or collected may be invalidated later, which is no second end.
Ends of handles that another process acquired (before a fork), or that were first seen in use, are
no ends of this run's handles.
"""

from __future__ import annotations

from typing import Final

from csptrace.events.schema import EVENTS, REPLACED

__all__ = [
    "ASKED",
    "COLUMNS",
    "DOUBTFUL",
    "ENUMS",
    "FINDING",
    "HANDLE_EVENT",
    "INPUTS",
    "KEPT",
    "MERGES",
    "NODES",
    "PARTIALS",
    "POINTS",
    "RANKED",
    "READ",
    "TIMELINES",
    "TOP",
]

TOP: Final = 50
"""How many of the longest held handles, and of the worst releases, are kept."""
TIMELINES: Final = 20
"""Of how many runs the live handles are followed: those with the highest peaks."""
POINTS: Final = 120
"""Into how many stretches the time of such a run is cut."""
NODES: Final = 1000
"""How many handles of a run its graph shows."""

HANDLE_EVENT: Final = "csptrace.handle_"
"""How the names of the frequent events begin: those whose every field is a column of `events`."""
_SORTS: Final = {"integer": "BIGINT", "boolean": "BOOLEAN"}


def _columns() -> dict[str, str]:
    """Return every field of the schema with its type; arrays and objects are JSON text.

    A field has one type in all events: a log is read as one table.
    """
    fields: dict[str, str] = dict.fromkeys(("event", "run"), "VARCHAR")
    fields.update(dict.fromkeys(("schema", "pid", "seq", "ts", "mono"), "BIGINT"))
    for required, optional in EVENTS.values():
        for name, about in {**required, **optional}.items():
            fields.setdefault(name, _SORTS.get(about.get("type", "string"), "VARCHAR"))
    for names in REPLACED.values():
        fields.update(dict.fromkeys(names, "VARCHAR"))
    return fields


COLUMNS: Final = _columns()
"""Every field of a log, with its type: BIGINT, BOOLEAN or VARCHAR."""

_EVENTS: Final = {
    "run": "run",
    "seq": "seq",
    "ts": "ts",
    "mono": "mono",
    "how": (
        "CASE event WHEN 'csptrace.handle_acquired' THEN 'acquired' "
        "WHEN 'csptrace.handle_invalidated' THEN 'invalidated' ELSE how END"
    ),
    "api": "api",
    "hid": "hid",
    "kind": "kind",
    "val": "value",
    "stack": "stack",
    "release_stack": "release_stack",
    "age": "age_ns",
    "live": "live",
    "parent": "parent",
    "needs": "needs",
    "name": "name",
    "ender": "by",
}
ENUMS: Final[dict[str, tuple[str, ...]]] = {
    "run": (),
    "how": ("acquired", "invalidated"),
    "api": (),
    "kind": (),
}
"""Columns of `events` with few different texts, with the texts that are not from the field itself.
An engine may keep them as numbers whose order is that of the texts."""
_RENAMED: Final = {"value": "val", "age_ns": "age"}


ASKED: Final[dict[str, tuple[str, ...]]] = {
    "csptrace.finding": (
        *("code", "severity", "api", "kind", "value", "gen", "fingerprint", "thread", "task"),
        *("scope", "name", "age_ns", "uses", "remedy", "culprit_kind", "times"),
        *("where_file", "where_line"),
        *("acquired_by", "ended_by", "misused_by", "last_use_by"),
        *("acquired_stack", "ended_stack", "misused_stack", "last_use_stack"),
        *("siblings_acquired", "siblings_released", "siblings_where_count"),
        *("siblings_where_file", "siblings_where_line"),
        *("cause", "cause_exit", "cause_pattern", "cause_function"),
        *("cause_where_file", "cause_where_line"),
    ),
    "csptrace.stack": ("stack", "frames"),
    "csptrace.run_started": (
        *("host", "pid", "parent_run", "program", "python", "platform", "level"),
    ),
    "csptrace.run_ended": ("acquired", "peak", "bytes", "writing_ns"),
    "csptrace.notice": ("code", "message"),
}
"""What is asked of the rarer events."""


_PLACE: Final = "'^(.*):([0-9]{1,15})$'"


def _about(event: str) -> dict[str, str]:
    fields = ("run", "seq", "ts", *(name for name in ASKED[event] if name in COLUMNS))
    columns = {_RENAMED.get(name, name): name for name in fields}
    for name in REPLACED.get(event, ()):
        # What version 1 has as `file:line`; it is read with the name of its relation in front,
        # since WHERE is a word of SQL.
        file, line = (f"REGEXP_EXTRACT(lines.{name}, {_PLACE}, {part})" for part in (1, 2))
        if f"{name}_file" in columns:
            columns[f"{name}_file"] = f"COALESCE({name}_file, NULLIF({file}, ''))"
            columns[f"{name}_line"] = f"COALESCE({name}_line, CAST(NULLIF({line}, '') AS BIGINT))"
    return columns


INPUTS: Final[dict[str, tuple[str | None, dict[str, str]]]] = {
    "events": (None, _EVENTS),
    "findings": ("csptrace.finding", _about("csptrace.finding")),
    "stacks": ("csptrace.stack", _about("csptrace.stack")),
    "starts": ("csptrace.run_started", _about("csptrace.run_started")),
    "stops": ("csptrace.run_ended", _about("csptrace.run_ended")),
    "notices": ("csptrace.notice", _about("csptrace.notice")),
}
"""Relation → the event it is made of (`None`: every event) and column → field or expression, of the
fields of a relation that is called `lines`."""

_READ: Final = {
    *("event", "schema", "how", "run", "seq", "ts"),
    *_EVENTS.values(),
    *(name for names in ASKED.values() for name in names),
    *(
        name
        for event, names in REPLACED.items()
        for name in names
        if f"{name}_file" in ASKED[event]
    ),
}

READ: Final = {name: sort for name, sort in COLUMNS.items() if name in _READ}
"""The fields that the questions need, with their types. Reading fewer is faster."""

FINDING: Final = tuple(INPUTS["findings"][1])

_CAUSES: Final = tuple(name for name in ("cause_exit", "cause_pattern") if name in FINDING)
_CAUSE: Final = (
    f"NULLIF(CONCAT_WS('/', {', '.join(_CAUSES)}), '')" if _CAUSES else "CAST(NULL AS STRING)"
)
"""How the acquiring function was left, in two words; null if that is not known."""
_ROLES: Final = tuple(name.removesuffix("_stack") for name in FINDING if name.endswith("_stack"))
_TEXT: Final = '"([^"]*)"'
_FRAME: Final = f"{_TEXT},([0-9]+),{_TEXT},{_TEXT}"


def _place(frames: str) -> str:
    """Return the SQL of a stack's place, `file:line`, the file as JSON has it.

    It is the first frame of user code, the innermost frame if there is none.
    """
    user = f"REGEXP_EXTRACT({frames}, '{_FRAME},true', {{}})"
    any_ = f"REGEXP_EXTRACT({frames}, '{_FRAME}', {{}})"
    return (
        f"CASE WHEN {user.format(2)} <> '' THEN CONCAT({user.format(1)}, ':', {user.format(2)}) "
        f"WHEN {any_.format(2)} <> '' THEN CONCAT({any_.format(1)}, ':', {any_.format(2)}) "
        "ELSE '' END"
    )


DOUBTFUL: Final = """
    SELECT DISTINCT run FROM (
        SELECT run, lo, hi, times, LAG(hi) OVER (PARTITION BY run ORDER BY lo, hi) AS before
        FROM (
            SELECT run, file, MIN(seq) AS lo, MAX(seq) AS hi, COUNT(*) AS times
            FROM pieces GROUP BY run, file
        ) stretches
    ) ordered WHERE times > hi - lo + 1 OR before >= lo"""
"""The runs of which an event may be there twice, in one file or in two; `pieces` has every event
with its `file`. The pieces of a rotated log do not overlap."""

RANKED: Final = """
    SELECT p.*, CASE WHEN d.run IS NULL THEN 1 ELSE ROW_NUMBER() OVER (
        PARTITION BY p.run, p.seq ORDER BY p.file
    ) END AS nth
    FROM pieces p LEFT JOIN doubtful d ON d.run = p.run"""
"""Every event; of those that are there twice the second has `nth` 2."""

# Whether an event acquires or ends a handle of its run: `e` is the event, `s` the span of its run,
# `x` the handle's early end. An acquisition has no age. (The form is the fastest of several.)
_COUNTS: Final = """(
    e.how <> 'reference' AND e.hid >= s.first_hid AND COALESCE(e.age, 0) >= 0
    AND COALESCE(x.seq, e.seq) >= e.seq
)"""
_IS_END: Final = f"e.how <> 'acquired' AND {_COUNTS}"
_FINDINGS: Final = "CAST(SUM(COALESCE(times, 1)) AS BIGINT)"
"""How many findings the events stand for."""
_SIZE: Final = "POWER(2, FLOOR(LOG2(e.age)) - 5)"

PARTIALS: Final[dict[str, str]] = {
    # Each stack's place.
    "places": f"SELECT run, stack, MIN({_place('frames')}) AS place, MIN(frames) AS frames "
    "FROM stacks GROUP BY run, stack",
    # The stretch of time that each run has covered.
    "spans": """
        SELECT run, MIN(ts) AS started, MAX(ts) AS ended,
            MIN(mono) AS first_mono, MAX(mono) AS last_mono,
            COUNT(*) AS events,
            MIN(CASE WHEN how = 'acquired' THEN hid END) AS first_hid,
            CAST(SUM(CASE WHEN how = 'acquired' THEN 1 ELSE 0 END) AS BIGINT) AS acquired,
            MAX(live) AS peak,
            MAX_BY(live, CASE WHEN live IS NULL THEN -1 ELSE seq END) AS live
        FROM events GROUP BY run""",
    # Ends of duty after which the handle may still be seen to end.
    "early": """
        SELECT run, hid, MIN(seq) AS seq FROM events
        WHERE how IN ('collected', 'handed-over') GROUP BY run, hid""",
    # Acquisitions and ends, counted by everything that a site is asked about. Ages are counted in
    # buckets, 32 for each power of two; a bucket is named by its least age.
    "tally": f"""
        SELECT e.run, e.kind, e.stack, e.how, e.release_stack,
            CASE WHEN e.how <> 'released' THEN NULL WHEN e.age < 64 THEN e.age
                ELSE CAST(FLOOR(e.age / {_SIZE}) * {_SIZE} AS BIGINT) END AS low,
            MAX(e.api) AS api, COUNT(*) AS times, MAX(e.age) AS longest,
            CAST(SUM(CASE WHEN e.mono - s.first_mono > s.last_mono - e.mono
                THEN 1 ELSE 0 END) AS BIGINT) AS late
        FROM events e JOIN spans s ON e.run = s.run
            LEFT JOIN early x ON x.run = e.run AND x.hid = e.hid
        WHERE {_COUNTS}
        GROUP BY 1, 2, 3, 4, 5, 6""",
    "by_stack": """
        SELECT t.run, t.kind, t.stack, COALESCE(MAX(t.api), '') AS api,
            COALESCE(MAX(p.place), '') AS place, COALESCE(MIN(p.frames), '') AS frames,
            CAST(SUM(CASE WHEN how = 'acquired' THEN times ELSE 0 END) AS BIGINT) AS acquired,
            CAST(SUM(CASE WHEN how = 'released' THEN times ELSE 0 END) AS BIGINT) AS released,
            CAST(SUM(CASE WHEN how IN ('invalidated', 'collected') THEN times ELSE 0 END)
                AS BIGINT) AS lost,
            CAST(SUM(CASE WHEN how = 'acquired' THEN times ELSE -times END) AS BIGINT) AS live,
            CAST(SUM(CASE WHEN how = 'acquired' THEN late ELSE -late END) AS BIGINT) AS growth
        FROM tally t LEFT JOIN places p ON p.run = t.run AND p.stack = t.stack
        GROUP BY t.run, t.kind, t.stack""",
    "sites": """
        SELECT api, kind, place, MIN(frames) AS frames,
            CAST(SUM(acquired) AS BIGINT) AS acquired, CAST(SUM(released) AS BIGINT) AS released,
            CAST(SUM(lost + live) AS BIGINT) AS leaked, CAST(SUM(live) AS BIGINT) AS live,
            CAST(SUM(growth) AS BIGINT) AS growth
        FROM by_stack GROUP BY api, kind, place""",
    "releases": """
        SELECT b.api, b.kind, b.place, COALESCE(p.place, '') AS released_at,
            CAST(SUM(t.times) AS BIGINT) AS times
        FROM tally t JOIN by_stack b ON b.run = t.run AND b.kind = t.kind AND b.stack = t.stack
            LEFT JOIN places p ON p.run = t.run AND p.stack = t.release_stack
        WHERE t.how = 'released'
        GROUP BY b.api, b.kind, b.place, COALESCE(p.place, '')""",
    "ages": """
        SELECT b.api, b.kind, b.place, t.low, CAST(SUM(t.times) AS BIGINT) AS times,
            MAX(t.longest) AS longest
        FROM tally t JOIN by_stack b ON b.run = t.run AND b.kind = t.kind AND b.stack = t.stack
        WHERE t.how = 'released'
        GROUP BY b.api, b.kind, b.place, t.low""",
    # Handles that never ended: looked for only where fewer have ended than were acquired.
    "alive": """
        SELECT a.run, a.hid, a.kind, a.val, a.stack, s.last_mono - a.mono AS age
        FROM events a JOIN spans s ON s.run = a.run
            JOIN by_stack b ON b.run = a.run AND b.kind = a.kind AND b.stack = a.stack
                AND b.live > 0
            LEFT JOIN (
                SELECT DISTINCT e.run, e.hid FROM events e JOIN by_stack c
                    ON c.run = e.run AND c.kind = e.kind AND c.stack = e.stack AND c.live > 0
                WHERE e.how NOT IN ('acquired', 'reference')
            ) f ON f.run = a.run AND f.hid = a.hid
        WHERE a.how = 'acquired' AND f.hid IS NULL""",
    "longest": f"""
        SELECT run, hid, kind, val, stack, age, how FROM (
            SELECT e.run, e.hid, e.kind, e.val, e.stack, e.age, e.how
            FROM events e JOIN spans s ON e.run = s.run
                LEFT JOIN early x ON x.run = e.run AND x.hid = e.hid
            WHERE {_IS_END}
            UNION ALL
            SELECT run, hid, kind, val, stack, age, 'alive' AS how FROM alive
        ) every ORDER BY age DESC, run, hid LIMIT {TOP}""",
    "held": """
        SELECT h.run, h.hid, h.kind, h.val, COALESCE(a.name, '') AS name, h.age, h.how,
            COALESCE(p.place, '') AS place
        FROM longest h
            LEFT JOIN (
                SELECT e.run, e.hid, e.name FROM events e
                    JOIN longest l ON l.run = e.run AND l.hid = e.hid
                WHERE e.how = 'acquired' AND e.name IS NOT NULL
            ) a ON a.run = h.run AND a.hid = h.hid
            LEFT JOIN places p ON p.run = h.run AND p.stack = h.stack""",
    # What the release of a handle took with it.
    "taken": """
        SELECT run, ender, kind, COUNT(*) AS times FROM events
        WHERE how = 'invalidated' AND ender IS NOT NULL GROUP BY run, ender, kind""",
    "worst": f"""
        SELECT run, ender, CAST(SUM(times) AS BIGINT) AS times FROM taken GROUP BY run, ender
        ORDER BY times DESC, run, ender LIMIT {TOP}""",
    "contexts": """
        SELECT w.run, w.ender AS hid, w.times AS under, t.kind AS under_kind,
            t.times AS under_times, COALESCE(r.kind, '') AS kind, COALESCE(r.val, '') AS val,
            COALESCE(r.name, '') AS name, COALESCE(r.ts, 0) AS at,
            COALESCE(p.place, '') AS place
        FROM worst w
            JOIN taken t ON t.run = w.run AND t.ender = w.ender
            LEFT JOIN (
                SELECT e.run, e.hid, MAX(e.kind) AS kind, MAX(e.val) AS val, MAX(e.name) AS name,
                    MAX(CASE WHEN e.how = 'released' THEN e.ts END) AS ts,
                    MAX(CASE WHEN e.how = 'released' THEN e.release_stack END) AS stack
                FROM events e JOIN worst v ON v.run = e.run AND v.ender = e.hid
                WHERE e.how IN ('acquired', 'released') GROUP BY e.run, e.hid
            ) r ON r.run = w.run AND r.hid = w.ender
            LEFT JOIN places p ON p.run = w.run AND p.stack = r.stack""",
    # Findings by fingerprint.
    "hosts_of": "SELECT run, MAX(host) AS host FROM starts GROUP BY run",
    "groups": f"""
        SELECT fingerprint, {_FINDINGS} AS times, COUNT(DISTINCT run) AS runs,
            MIN(ts) AS first_seen, MAX(ts) AS last_seen,
            MIN(CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END) AS severity
        FROM findings WHERE fingerprint IS NOT NULL GROUP BY fingerprint""",
    "group_hosts": """
        SELECT DISTINCT f.fingerprint, h.host
        FROM findings f JOIN hosts_of h ON h.run = f.run
        WHERE f.fingerprint IS NOT NULL AND h.host IS NOT NULL""",
    "group_scopes": f"""
        SELECT fingerprint, scope, {_FINDINGS} AS times FROM findings
        WHERE fingerprint IS NOT NULL AND scope IS NOT NULL GROUP BY fingerprint, scope""",
    "group_causes": f"""
        SELECT fingerprint, {_CAUSE} AS cause, {_FINDINGS} AS times FROM findings
        WHERE fingerprint IS NOT NULL AND {_CAUSE} IS NOT NULL
        GROUP BY fingerprint, {_CAUSE}""",
    "firsts": """
        SELECT f.*, ROW_NUMBER() OVER (PARTITION BY fingerprint ORDER BY ts, run, seq) AS nth
        FROM findings f WHERE fingerprint IS NOT NULL""",
    "examples": (
        "SELECT f.*"
        + "".join(
            f", {role}_place.frames AS {role}_frames, {role}_place.place AS {role}_place"
            for role in _ROLES
        )
        + " FROM firsts f"
        + "".join(
            f" LEFT JOIN places {role}_place ON {role}_place.run = f.run"
            f" AND {role}_place.stack = f.{role}_stack"
            for role in _ROLES
        )
        + " WHERE f.nth = 1"
    ),
    # The runs.
    "codes": f"""
        SELECT run, code, {_FINDINGS} AS times FROM findings WHERE code IS NOT NULL
        GROUP BY run, code""",
    "last_words": """
        SELECT run, MAX(acquired) AS acquired, MAX(peak) AS peak FROM stops GROUP BY run""",
    "first_words": """
        SELECT run, MAX(host) AS host, MAX(pid) AS pid, MAX(parent_run) AS parent_run,
            MAX(program) AS program, MAX(python) AS python, MAX(platform) AS platform,
            MAX(level) AS level
        FROM starts GROUP BY run""",
    "runs": """
        SELECT s.run, COALESCE(w.host, '') AS host, COALESCE(w.pid, 0) AS pid,
            COALESCE(w.parent_run, '') AS parent_run, COALESCE(w.program, '') AS program,
            COALESCE(w.python, '') AS python, COALESCE(w.platform, '') AS platform,
            COALESCE(w.level, '') AS level, s.started, s.ended, s.first_mono, s.last_mono,
            CASE WHEN l.run IS NULL THEN 0 ELSE 1 END AS finished,
            COALESCE(l.acquired, s.acquired) AS acquired,
            GREATEST(COALESCE(l.peak, 0), COALESCE(s.peak, 0)) AS peak,
            COALESCE(s.live, 0) AS live, COALESCE(c.findings, 0) AS findings
        FROM spans s LEFT JOIN first_words w ON w.run = s.run
            LEFT JOIN last_words l ON l.run = s.run
            LEFT JOIN (
                SELECT run, CAST(SUM(times) AS BIGINT) AS findings FROM codes GROUP BY run
            ) c ON c.run = s.run""",
    # Live handles over time, of the runs with the highest peaks.
    "busiest": f"""
        SELECT run, peak, started, first_mono,
            FLOOR((last_mono - first_mono) / {POINTS}) + 1 AS width
        FROM runs WHERE acquired > 0 ORDER BY peak DESC, started, run LIMIT {TIMELINES}""",
    "timelines": """
        SELECT b.run, MAX(b.peak) AS peak, MIN(b.started) AS started,
            CAST(FLOOR((e.mono - b.first_mono) / b.width) * b.width AS BIGINT) AS at,
            MAX(e.live) AS live
        FROM events e JOIN busiest b ON b.run = e.run
        WHERE e.live IS NOT NULL
        GROUP BY b.run, CAST(FLOOR((e.mono - b.first_mono) / b.width) * b.width AS BIGINT)""",
    # The handle graph of the run with the most findings.
    "graph_run": """
        SELECT run, findings, acquired, started, first_mono FROM runs WHERE {choice}
        ORDER BY findings DESC, acquired DESC, started, run LIMIT 1""",
    "graph_ends": f"""
        SELECT e.run, e.hid, e.how, e.mono FROM events e JOIN graph_run g ON g.run = e.run
            JOIN spans s ON s.run = e.run LEFT JOIN early x ON x.run = e.run AND x.hid = e.hid
        WHERE {_IS_END}""",
    "nodes": """
        SELECT e.hid, COALESCE(e.parent, 0) AS parent, e.kind, e.val,
            COALESCE(e.name, '') AS name, e.mono - g.first_mono AS at,
            COALESCE(f.mono - g.first_mono, -1) AS ended, COALESCE(f.how, 'alive') AS how,
            e.stack, COALESCE(e.needs, '') AS needs,
            CASE WHEN f.how IN ('released', 'handed-over') THEN 0 ELSE 1 END AS bad
        FROM events e JOIN graph_run g ON g.run = e.run
            LEFT JOIN graph_ends f ON f.hid = e.hid
        WHERE e.how = 'acquired'""",
    "ancestors": """
        SELECT DISTINCT parent AS hid FROM nodes WHERE bad = 1 AND parent > 0
        UNION SELECT DISTINCT n.parent AS hid FROM nodes n JOIN nodes c ON c.parent = n.hid
        WHERE c.bad = 1 AND n.parent > 0""",
    "graph": f"""
        SELECT g.run, g.findings, g.acquired, g.started, n.hid, n.parent, n.kind, n.val, n.name,
            n.at, n.ended, n.how, n.needs, COALESCE(p.place, '') AS place, m.many
        FROM (
            SELECT n.*, CASE WHEN n.bad = 1 OR a.hid IS NOT NULL THEN 0 ELSE 1 END AS grade
            FROM nodes n LEFT JOIN ancestors a ON a.hid = n.hid
            ORDER BY grade, n.hid LIMIT {NODES}
        ) n CROSS JOIN graph_run g
            CROSS JOIN (SELECT COUNT(*) AS many FROM nodes) m
            LEFT JOIN places p ON p.run = g.run AND p.stack = n.stack""",
    # What traced processes said, and what the tracer cost.
    "problems": "SELECT code, message, COUNT(*) AS times FROM notices GROUP BY code, message",
    "costs": """
        SELECT CAST(COALESCE(SUM(s.events), 0) AS BIGINT) AS events,
            CAST(COALESCE(SUM(k.stacks), 0) AS BIGINT) AS stacks,
            CAST(COALESCE(SUM(w.bytes), 0) AS BIGINT) AS bytes,
            CAST(SUM(w.writing_ns) AS BIGINT) AS writing
        FROM spans s
            LEFT JOIN (SELECT run, COUNT(*) AS stacks FROM places GROUP BY run) k ON k.run = s.run
            LEFT JOIN (
                SELECT run, MAX(bytes) AS bytes, MAX(writing_ns) AS writing_ns
                FROM stops GROUP BY run
            ) w ON w.run = s.run""",
}
"""The partial answers, in the order in which they are computed."""

KEPT: Final = (
    "sites",
    "releases",
    "ages",
    "held",
    "contexts",
    "groups",
    "group_hosts",
    "group_scopes",
    "group_causes",
    "examples",
    "codes",
    "runs",
    "timelines",
    "graph",
    "problems",
    "costs",
)
"""Which partial answers are kept and merged."""

_RANK: Final = "ORDER BY low ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"

MERGES: Final[dict[str, str]] = {
    "sites": """
        SELECT s.api, s.kind, s.place, MIN(s.frames) AS frames,
            CAST(SUM(s.acquired) AS BIGINT) AS acquired,
            CAST(SUM(s.released) AS BIGINT) AS released,
            CAST(SUM(s.leaked) AS BIGINT) AS leaked, CAST(SUM(s.live) AS BIGINT) AS live,
            CAST(SUM(s.growth) AS BIGINT) AS growth
        FROM sites s GROUP BY s.api, s.kind, s.place
        ORDER BY leaked DESC, acquired DESC, api, kind, place""",
    "releases": """
        SELECT api, kind, place, released_at, times FROM (
            SELECT api, kind, place, released_at, CAST(SUM(times) AS BIGINT) AS times,
                ROW_NUMBER() OVER (
                    PARTITION BY api, kind, place ORDER BY SUM(times) DESC, released_at
                ) AS nth
            FROM releases WHERE released_at <> '' GROUP BY api, kind, place, released_at
        ) ranked WHERE nth = 1""",
    "ages": f"""
        SELECT api, kind, place,
            MIN(CASE WHEN running * 100 >= total * 50 THEN low END) AS p50,
            MIN(CASE WHEN running * 100 >= total * 90 THEN low END) AS p90,
            MIN(CASE WHEN running * 100 >= total * 99 THEN low END) AS p99,
            MAX(longest) AS longest
        FROM (
            SELECT api, kind, place, low, longest,
                SUM(times) OVER (PARTITION BY api, kind, place {_RANK}) AS running,
                SUM(times) OVER (PARTITION BY api, kind, place) AS total
            FROM (
                SELECT api, kind, place, low, CAST(SUM(times) AS BIGINT) AS times,
                    MAX(longest) AS longest
                FROM ages GROUP BY api, kind, place, low
            ) summed
        ) ranked GROUP BY api, kind, place""",
    "held": f"""
        SELECT run, hid, kind, val, name, age, how, place FROM held
        ORDER BY age DESC, run, hid LIMIT {TOP}""",
    "contexts": f"""
        SELECT c.run, c.hid, c.kind, c.val, c.name, c.at, c.place, c.under_kind, c.under_times
        FROM contexts c JOIN (
            SELECT DISTINCT run, hid, under FROM contexts
            ORDER BY under DESC, run, hid LIMIT {TOP}
        ) w ON w.run = c.run AND w.hid = c.hid
        ORDER BY w.under DESC, c.run, c.hid, c.under_kind""",
    "groups": """
        SELECT fingerprint, CAST(SUM(times) AS BIGINT) AS times,
            CAST(SUM(runs) AS BIGINT) AS runs, MIN(first_seen) AS first_seen,
            MAX(last_seen) AS last_seen, MIN(severity) AS severity
        FROM groups GROUP BY fingerprint ORDER BY severity, times DESC, fingerprint""",
    "group_hosts": "SELECT DISTINCT fingerprint, host FROM group_hosts ORDER BY fingerprint, host",
    "group_scopes": """
        SELECT fingerprint, scope, CAST(SUM(times) AS BIGINT) AS times FROM group_scopes
        GROUP BY fingerprint, scope ORDER BY fingerprint, times DESC, scope""",
    "group_causes": """
        SELECT fingerprint, cause, CAST(SUM(times) AS BIGINT) AS times FROM group_causes
        GROUP BY fingerprint, cause ORDER BY fingerprint, times DESC, cause""",
    "examples": """
        SELECT * FROM (
            SELECT e.*, ROW_NUMBER() OVER (PARTITION BY fingerprint ORDER BY ts, run, seq) AS best
            FROM examples e
        ) ranked WHERE best = 1""",
    "codes": "SELECT run, code, times FROM codes ORDER BY run, code",
    "runs": "SELECT * FROM runs ORDER BY started, run",
    "timelines": f"""
        SELECT t.run, t.at, t.live FROM timelines t JOIN (
            SELECT DISTINCT run, peak, started FROM timelines
            ORDER BY peak DESC, started, run LIMIT {TIMELINES}
        ) b ON b.run = t.run
        ORDER BY b.peak DESC, b.started, t.run, t.at""",
    "graph": """
        SELECT g.run, g.hid, g.parent, g.kind, g.val, g.name, g.at, g.ended, g.how, g.needs,
            g.place, g.many
        FROM graph g JOIN (
            SELECT DISTINCT run, findings, acquired, started FROM graph
            ORDER BY findings DESC, acquired DESC, started, run LIMIT 1
        ) b ON b.run = g.run
        ORDER BY g.hid""",
    "problems": """
        SELECT code, message, CAST(SUM(times) AS BIGINT) AS times FROM problems
        GROUP BY code, message ORDER BY times DESC, code, message""",
    "costs": """
        SELECT CAST(COALESCE(SUM(events), 0) AS BIGINT) AS events,
            CAST(COALESCE(SUM(stacks), 0) AS BIGINT) AS stacks,
            CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes,
            CAST(COALESCE(SUM(writing), -1) AS BIGINT) AS writing
        FROM costs""",
}
"""How the partial answers of many units become one: each runs on the union of its namesakes."""
