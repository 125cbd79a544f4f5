"""Random traces: a model of what a tracer can write, drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st
from logbook import Logbook

KINDS = ("HCRYPTPROV", "HCRYPTKEY", "HCRYPTHASH")
HOWS = ("released", "released", "released", "reference", "handed-over", "collected", "unseen")


@st.composite
def books(draw: st.DrawFn) -> list[Logbook]:
    """Return the logs of one to four processes."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        host = draw(st.sampled_from(("alpha", "beta")))
        book = Logbook(f"run{number}", host, 10 + number, draw(st.integers(0, 10)))
        _fill(draw, book)
        made.append(book)
    return made


def _fill(draw: st.DrawFn, book: Logbook) -> None:
    at = draw(st.integers(0, 5))
    book.started(at)
    hid = 0
    alive: dict[int, bool] = {}  # whether its end is still to come
    if draw(st.booleans()):  # handles from before a fork
        hid = draw(st.integers(1, 3))
        for inherited in range(1, hid + 1):
            stack = book.stack(at, 5)
            book.acquired_at[inherited] = (0, KINDS[inherited % 3], stack)
            book.live += 1
            alive[inherited] = True
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from((0, 0, 1, 3, 40, 1000)))
        action = draw(st.sampled_from(("acquire", "acquire", "release", "invalidate", "find")))
        if action == "acquire":
            hid += 1
            kind = draw(st.sampled_from(KINDS))
            more = {"parent": draw(st.sampled_from(sorted(alive)))} if alive else {}
            if draw(st.booleans()):
                more["name"] = f"box {hid}"
            below = draw(st.integers(0, 1))
            book.acquire(at, hid, kind, draw(st.integers(10, 14)), below=below, **more)
            alive[hid] = True
        elif alive and action == "release":
            one = draw(st.sampled_from(sorted(alive)))
            how = draw(st.sampled_from(HOWS))
            book.release(at, one, draw(st.integers(30, 32)), how)
            if how in ("released", "unseen"):
                del alive[one]
        elif len(alive) > 1 and action == "invalidate":
            one, by = draw(st.permutations(sorted(alive)))[:2]
            book.invalidate(at, one, by)
            del alive[one]
        elif hid and action == "find":
            code, letter = draw(st.sampled_from((("lost", "a"), ("double-release", "b"))))
            severity = draw(st.sampled_from(("error", "warning", "info")))
            one = draw(st.sampled_from(sorted(book.acquired_at)))
            more = {"scope": draw(st.sampled_from(("one", "two")))} if draw(st.booleans()) else {}
            if draw(st.booleans()):
                more["times"] = draw(st.integers(2, 1000))
            book.find(at, one, code, f"1:{letter * 16}", severity=severity, **more)
    if draw(st.booleans()):
        book.ended(at + 1)
