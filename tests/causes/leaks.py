"""Small functions that leak a hash, and for each the corrected twin: `name` and `name_mended`.

Each gets a provider context that its caller releases. Comments at the end of a line (`# acquired`,
`# left`, `# release`, …) name the lines that a cause has to quote. `lib` and `crypt` are set by
whoever runs them: softcsp, or advapi32 and pywin32 themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from ctypes import byref, c_size_t
from dataclasses import dataclass, field
from typing import Any

SHA = 0x8004
lib: Any = None
crypt: Any = None
kept: list[Any] = []
table: dict[str, Any] = {}
shared = c_size_t()


class Stop(Exception):
    """What the programs raise."""


def fails() -> None:
    """Raise."""
    raise Stop


def deeper() -> None:
    """Let something else raise."""
    fails()


def opened(prov: Any) -> Any:
    """Return a new hash."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # opened
    return h  # opened returns


# --- left by an exception -------------------------------------------------------------------------


def raised_here(prov: Any) -> None:
    """The function itself raises."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    raise Stop  # left
    lib.CryptDestroyHash(h)  # release


def raised_here_mended(prov: Any) -> None:
    """The release stands in a finally."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    try:
        raise Stop
    finally:
        lib.CryptDestroyHash(h)


def raised_below(prov: Any) -> None:
    """Something that it calls raises."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    fails()  # left
    lib.CryptDestroyHash(h)  # release


def raised_below_mended(prov: Any) -> None:
    """The release stands in a finally."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    try:
        fails()
    finally:
        lib.CryptDestroyHash(h)


def raised_deeper(prov: Any) -> None:
    """Something that is called two levels down raises."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    deeper()  # left
    lib.CryptDestroyHash(h)  # release


def raised_deeper_mended(prov: Any) -> None:
    """What may raise is called before."""
    with contextlib.suppress(Stop):
        deeper()
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    lib.CryptDestroyHash(h)


def caught_above(prov: Any) -> None:
    """A caller catches it."""

    def hashing() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        fails()  # left
        lib.CryptDestroyHash(h)  # release

    try:
        hashing()
    except Stop:  # caught
        kept.clear()


def caught_above_mended(prov: Any) -> None:
    """An ExitStack releases."""

    def hashing() -> None:
        h = c_size_t()
        with contextlib.ExitStack() as stack:
            lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
            stack.callback(lib.CryptDestroyHash, h)
            fails()

    with contextlib.suppress(Stop):
        hashing()


def caught_two_above(prov: Any) -> None:
    """The caller's caller catches it."""

    def hashing() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        fails()  # left
        lib.CryptDestroyHash(h)  # release

    def between() -> None:
        hashing()

    try:
        between()
    except Stop:  # caught
        kept.clear()


def caught_two_above_mended(prov: Any) -> None:
    """It is released where it is caught."""
    h = c_size_t()

    def hashing() -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        fails()

    try:
        hashing()
    except Stop:
        lib.CryptDestroyHash(h)


def another_from_the_handler(prov: Any) -> None:
    """The handler raises something else."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    try:
        fails()
    except Stop as error:
        raise ValueError from error  # left
    lib.CryptDestroyHash(h)  # release


def another_from_the_handler_mended(prov: Any) -> None:
    """The handler releases first."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    try:
        fails()
    except Stop as error:
        lib.CryptDestroyHash(h)
        raise ValueError from error


def program_ended(prov: Any) -> None:
    """`sys.exit` is an exception, too."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    raise SystemExit(3)  # left
    lib.CryptDestroyHash(h)  # release


def program_ended_mended(prov: Any) -> None:
    """Release before the end."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    lib.CryptDestroyHash(h)
    raise SystemExit(3)


def on_its_way(prov: Any) -> None:
    """The context goes in a finally while the exception is on its way."""
    own = c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    try:
        h = c_size_t()
        lib.CryptCreateHash(own, SHA, 0, 0, byref(h))  # acquired
        fails()  # left
        lib.CryptDestroyHash(h)  # release
    finally:
        lib.CryptReleaseContext(own, 0)


def on_its_way_mended(prov: Any) -> None:
    """Each handle has a finally of its own."""
    own = c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    try:
        h = c_size_t()
        lib.CryptCreateHash(own, SHA, 0, 0, byref(h))
        try:
            fails()
        finally:
            lib.CryptDestroyHash(h)
    finally:
        lib.CryptReleaseContext(own, 0)


def inverted_check(prov: Any) -> None:
    """The finally is run, and its condition is wrong."""
    h = c_size_t()
    try:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        fails()  # left
    finally:
        if not h.value:  # condition
            lib.CryptDestroyHash(h)  # release


def inverted_check_mended(prov: Any) -> None:
    """The condition is right."""
    h = c_size_t()
    try:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        fails()
    finally:
        if h.value:
            lib.CryptDestroyHash(h)


# --- returned too early ---------------------------------------------------------------------------


def early_return(prov: Any) -> int:
    """Return before the release."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    if h.value:
        return 1  # left
    lib.CryptDestroyHash(h)  # release
    return 2


def early_return_mended(prov: Any) -> int:
    """Release before each return."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    if h.value:
        lib.CryptDestroyHash(h)
        return 1
    lib.CryptDestroyHash(h)
    return 2


def return_from_a_loop(prov: Any) -> int:
    """Return from the middle of a loop."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    for each in range(5):
        if each == 3:
            return each  # left
    lib.CryptDestroyHash(h)  # release
    return -1


def return_from_a_loop_mended(prov: Any) -> int:
    """Leave the loop by break."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    for each in range(5):
        if each == 3:
            break
    lib.CryptDestroyHash(h)
    return each


def return_from_a_with(prov: Any) -> int:
    """Return from within a `with`, whose lines the compiler gives to the return."""
    with contextlib.nullcontext():
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        if h.value:
            return 1  # left
        lib.CryptDestroyHash(h)  # release
    return 2


def return_from_a_with_mended(prov: Any) -> int:
    """Release in the `with`, too."""
    with contextlib.nullcontext():
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        lib.CryptDestroyHash(h)
        return 1


def return_through_a_finally(prov: Any) -> int:
    """The context goes in a finally on the way of a return."""
    own = c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    try:
        h = c_size_t()
        lib.CryptCreateHash(own, SHA, 0, 0, byref(h))  # acquired
        if h.value:
            return 1  # left
        lib.CryptDestroyHash(h)  # release
    finally:
        lib.CryptReleaseContext(own, 0)
    return 2


def return_through_a_finally_mended(prov: Any) -> int:
    """Release before the return."""
    own = c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    try:
        h = c_size_t()
        lib.CryptCreateHash(own, SHA, 0, 0, byref(h))
        lib.CryptDestroyHash(h)
        return 1
    finally:
        lib.CryptReleaseContext(own, 0)


# --- on another path ------------------------------------------------------------------------------


def condition_not_met(prov: Any, wanted: bool = False) -> None:
    """The release is on one branch only."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    if wanted:  # condition, left
        lib.CryptDestroyHash(h)  # release


def condition_not_met_mended(prov: Any, wanted: bool = False) -> None:
    """The release is on both branches."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    if wanted:
        lib.CryptDestroyHash(h)
    else:
        lib.CryptDestroyHash(h)


def only_in_the_handler(prov: Any) -> int:
    """Only the error path releases."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    try:
        deeper_is_fine = 1
    except Stop:  # handler
        lib.CryptDestroyHash(h)  # release
        raise
    return deeper_is_fine  # left


def only_in_the_handler_mended(prov: Any) -> int:
    """Both paths release."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    try:
        deeper_is_fine = 1
    finally:
        lib.CryptDestroyHash(h)
    return deeper_is_fine


def handler_goes_on(prov: Any) -> None:
    """The exception is caught in the function, behind the release."""
    h = c_size_t()
    try:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        fails()
        lib.CryptDestroyHash(h)  # release
    except Stop:  # handler
        h = c_size_t()  # left


def handler_goes_on_mended(prov: Any) -> None:
    """The release stands behind the handler."""
    h = c_size_t()
    try:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        fails()
    except Stop:
        pass
    lib.CryptDestroyHash(h)


def after_the_context(prov: Any) -> None:
    """The release comes after that of the context."""
    own, h = c_size_t(), c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    lib.CryptCreateHash(own, SHA, 0, 0, byref(h))  # acquired
    lib.CryptReleaseContext(own, 0)  # left
    lib.CryptDestroyHash(h)  # release


def after_the_context_mended(prov: Any) -> None:
    """The other way round."""
    own, h = c_size_t(), c_size_t()
    lib.CryptAcquireContextW(byref(own), None, None, 24, 0xF0000000)
    lib.CryptCreateHash(own, SHA, 0, 0, byref(h))
    lib.CryptDestroyHash(h)
    lib.CryptReleaseContext(own, 0)


# --- on no path -----------------------------------------------------------------------------------


def never(prov: Any) -> None:
    """Nothing releases it."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    h.value += 0  # left


def never_mended(prov: Any) -> None:
    """Release it."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    lib.CryptDestroyHash(h)


def other_handle_released(prov: Any) -> None:
    """Another handle is released, not this one."""
    h, other = c_size_t(), c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(other))
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    lib.CryptDestroyHash(other)  # left


def other_handle_released_mended(prov: Any) -> None:
    """Both are."""
    h, other = c_size_t(), c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(other))
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    lib.CryptDestroyHash(other)
    lib.CryptDestroyHash(h)


def thrown_away(prov: Any) -> None:
    """The result of the call is thrown away."""
    opened(prov)  # thrown


def thrown_away_mended(prov: Any) -> None:
    """It is kept and released."""
    lib.CryptDestroyHash(opened(prov))


def in_a_lambda(prov: Any) -> None:
    """A lambda acquires it."""
    h = c_size_t()
    make = lambda: lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # noqa: E731  # acquired
    make()  # got
    if not h.value:  # condition, left
        lib.CryptDestroyHash(h)  # release


def in_a_lambda_mended(prov: Any) -> None:
    """Released without a condition."""
    h = c_size_t()
    make = lambda: lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # noqa: E731
    make()
    lib.CryptDestroyHash(h)


# --- overwritten ----------------------------------------------------------------------------------


def overwritten(prov: Any) -> None:
    """A second handle is put into the same variable."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # second
    lib.CryptDestroyHash(h)  # release


def overwritten_mended(prov: Any) -> None:
    """Two variables."""
    h, other = c_size_t(), c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(other))
    lib.CryptDestroyHash(h)
    lib.CryptDestroyHash(other)


def rebound(prov: Any) -> None:
    """The name is bound to another object with a second handle."""
    h = opened(prov)  # got
    h = opened(prov)  # second
    lib.CryptDestroyHash(h)  # release


def rebound_mended(prov: Any) -> None:
    """Released in between."""
    h = opened(prov)
    lib.CryptDestroyHash(h)
    h = opened(prov)
    lib.CryptDestroyHash(h)


def overwritten_by_calls(prov: Any) -> None:
    """Two calls of an inner function write to one variable of the outer one."""
    h = c_size_t()

    def begin() -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired

    begin()
    begin()
    lib.CryptDestroyHash(h)


def overwritten_by_calls_mended(prov: Any) -> None:
    """The inner function releases what is there."""
    h = c_size_t()

    def begin() -> None:
        if h.value:
            lib.CryptDestroyHash(h)
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))

    begin()
    begin()
    lib.CryptDestroyHash(h)


class Digest:
    """Has a hash."""

    def __init__(self) -> None:
        self.h = c_size_t()

    def begin(self, prov: Any) -> None:
        """Create it."""
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(self.h))  # digest

    def end(self) -> None:
        """Destroy it."""
        lib.CryptDestroyHash(self.h)  # digest ends


def overwritten_in_an_object(prov: Any) -> None:
    """Two calls of a method write to one attribute."""
    digest = Digest()
    digest.begin(prov)
    digest.begin(prov)
    digest.end()


def overwritten_in_an_object_mended(prov: Any) -> None:
    """Ended in between."""
    digest = Digest()
    digest.begin(prov)
    digest.end()
    digest.begin(prov)
    digest.end()


def loop(prov: Any) -> None:
    """Each round puts another handle into the variable."""
    h = c_size_t()
    for _ in range(3):  # loop
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    lib.CryptDestroyHash(h)  # release


def loop_mended(prov: Any) -> None:
    """Each round releases."""
    h = c_size_t()
    for _ in range(3):
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        lib.CryptDestroyHash(h)


def while_loop(prov: Any) -> None:
    """The same with `while`, and handles that are returned."""
    count = 0
    while count < 2:  # loop
        h = opened(prov)  # got
        count += bool(h.value)
    lib.CryptDestroyHash(h)  # release, left


def while_loop_mended(prov: Any) -> None:
    """Each round releases."""
    count = 0
    while count < 2:
        h = opened(prov)
        count += 1
        lib.CryptDestroyHash(h)


def loop_into_a_list(prov: Any) -> None:
    """Each round keeps its handle in a list, and an exception skips the loop that releases."""
    hashes = []
    for _ in range(2):  # loop
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        hashes.append(h)
    fails()  # left
    for h in hashes:  # all
        lib.CryptDestroyHash(h)  # release


def loop_into_a_list_mended(prov: Any) -> None:
    """Nothing is skipped."""
    hashes = []
    for _ in range(2):
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        hashes.append(h)
    for h in hashes:
        lib.CryptDestroyHash(h)


def loop_of_two(prov: Any) -> None:
    """Each round leaks two."""
    one, two = c_size_t(), c_size_t()
    for _ in range(2):  # loop
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(one))  # acquired
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(two))
    lib.CryptDestroyHash(one)  # release
    lib.CryptDestroyHash(two)  # left


def loop_of_two_mended(prov: Any) -> None:
    """Each round releases two."""
    one, two = c_size_t(), c_size_t()
    for _ in range(2):
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(one))
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(two))
        lib.CryptDestroyHash(one)
        lib.CryptDestroyHash(two)


# --- handed on ------------------------------------------------------------------------------------


def returned_and_forgotten(prov: Any) -> int:
    """The caller returns before the release."""
    h = opened(prov)  # got
    if h.value:
        return 1  # left
    lib.CryptDestroyHash(h)  # release
    return 2


def returned_and_forgotten_mended(prov: Any) -> int:
    """The caller has a finally."""
    h = opened(prov)
    try:
        return 1
    finally:
        lib.CryptDestroyHash(h)


def returned_twice(prov: Any) -> None:
    """The caller returns it to its own caller."""

    def through() -> Any:
        return opened(prov)  # through

    h = through()  # got
    fails()  # left
    lib.CryptDestroyHash(h)  # release


def returned_twice_mended(prov: Any) -> None:
    """A finally, two levels up."""

    def through() -> Any:
        return opened(prov)

    h = through()
    try:
        fails()
    finally:
        lib.CryptDestroyHash(h)


def returned_as_number(prov: Any) -> None:
    """What is returned is the value."""

    def number() -> int:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        return h.value

    value = number()  # got
    fails()  # left
    lib.CryptDestroyHash(value)  # release


def returned_as_number_mended(prov: Any) -> None:
    """Released at once."""

    def number() -> int:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        return h.value

    value = number()
    lib.CryptDestroyHash(value)


def returned_in_a_tuple(prov: Any) -> None:
    """It is returned with something else."""

    def pair() -> tuple[Any, int]:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        return h, 20

    h, size = pair()  # got
    if size == 20:  # condition
        return  # left
    lib.CryptDestroyHash(h)  # release


def returned_in_a_tuple_mended(prov: Any) -> None:
    """Released on every path."""

    def pair() -> tuple[Any, int]:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        return h, 20

    h, _size = pair()
    lib.CryptDestroyHash(h)


def returned_in_a_list(prov: Any) -> None:
    """A comprehension makes several."""

    def several() -> list[Any]:
        return [opened(prov) for _ in range(1)]  # several

    hashes = several()  # got
    fails()  # left
    for h in hashes:  # all
        lib.CryptDestroyHash(h)  # release


def returned_in_a_list_mended(prov: Any) -> None:
    """All are released."""
    hashes = [opened(prov) for _ in range(3)]
    for h in hashes:
        lib.CryptDestroyHash(h)


def returned_in_a_dict(prov: Any) -> None:
    """It is returned under a name."""

    def named() -> dict[str, Any]:
        return {"hash": opened(prov), "size": 20}  # named

    found = named()  # got
    if "other" not in found:
        return  # left
    lib.CryptDestroyHash(found["hash"])  # release


def returned_in_a_dict_mended(prov: Any) -> None:
    """It is released."""
    found = {"hash": opened(prov)}
    lib.CryptDestroyHash(found["hash"])


@dataclass
class Holder:
    """Holds a hash."""

    h: Any = field(default_factory=c_size_t)

    def close(self) -> None:
        """Release it."""
        lib.CryptDestroyHash(self.h)


def returned_in_an_object(prov: Any) -> None:
    """An object that holds it is returned, and is not closed."""

    def make() -> Holder:
        holder = Holder()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(holder.h))  # acquired
        return holder

    holder = make()  # got
    fails()  # left
    holder.close()  # release


def returned_in_an_object_mended(prov: Any) -> None:
    """It is closed."""
    holder = Holder()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(holder.h))
    with contextlib.closing(holder):
        fails()


def passed_as_parameter(prov: Any) -> None:
    """A function fills what its caller gave it, and the caller forgets it."""

    def fill(target: Any) -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(target))  # acquired

    h = c_size_t()
    fill(h)  # got
    fails()  # left
    lib.CryptDestroyHash(h)  # release


def passed_as_parameter_mended(prov: Any) -> None:
    """The caller releases it."""

    def fill(target: Any) -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(target))

    h = c_size_t()
    fill(h)
    lib.CryptDestroyHash(h)


# --- generators -----------------------------------------------------------------------------------


def blocks(prov: Any) -> Any:
    """Hash something, block by block."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # blocks
    yield 1  # blocks yields
    lib.CryptDestroyHash(h)  # blocks releases


def generator_suspended(prov: Any) -> None:
    """It is kept and never resumed."""
    running = blocks(prov)
    next(running)
    kept.append(running)


def generator_suspended_mended(prov: Any) -> None:
    """It is exhausted."""
    list(blocks(prov))


def generator_closed(prov: Any) -> None:
    """It is closed before its end."""
    running = blocks(prov)
    next(running)
    running.close()


def generator_closed_mended(prov: Any) -> None:
    """It has a finally."""

    def careful() -> Any:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        try:
            yield 1
        finally:
            lib.CryptDestroyHash(h)

    running = careful()
    next(running)
    running.close()


def generator_dropped(prov: Any) -> None:
    """A loop over it is left by break."""
    for _ in blocks(prov):
        break


def generator_dropped_mended(prov: Any) -> None:
    """The loop goes to the end."""
    for _ in blocks(prov):
        pass


def generator_thrown_into(prov: Any) -> None:
    """An exception is thrown into it."""
    running = blocks(prov)
    next(running)
    with contextlib.suppress(Stop):
        running.throw(Stop)


def generator_thrown_into_mended(prov: Any) -> None:
    """It is not."""
    running = blocks(prov)
    next(running)
    next(running, None)


def generator_returns(prov: Any) -> None:
    """It ends without a release."""

    def forgetful() -> Any:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        yield 1  # left

    list(forgetful())


def generator_returns_mended(prov: Any) -> None:
    """It releases at its end."""
    assert list(blocks(prov)) == [1]


def yielded_to_a_loop(prov: Any) -> None:
    """A generator hands out handles, and the loop forgets them."""

    def hashes() -> Any:
        yield opened(prov)  # hashes

    for h in hashes():  # got
        if h.value:
            return  # left
        lib.CryptDestroyHash(h)  # release


def yielded_to_a_loop_mended(prov: Any) -> None:
    """The loop releases them."""

    def hashes() -> Any:
        yield opened(prov)
        yield opened(prov)

    for h in hashes():
        lib.CryptDestroyHash(h)


def generator_expression(prov: Any) -> None:
    """A generator expression hands out handles."""
    found = next(opened(prov) for _ in range(1))  # got
    fails()  # left
    lib.CryptDestroyHash(found)  # release


def generator_expression_mended(prov: Any) -> None:
    """They are released."""
    for h in (opened(prov) for _ in range(2)):
        lib.CryptDestroyHash(h)


@contextlib.contextmanager
def hashing(prov: Any) -> Any:
    """Give a hash for a while, without a finally."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # hashing
    yield h  # hashing yields
    lib.CryptDestroyHash(h)  # hashing releases


def context_manager(prov: Any) -> None:
    """The body of the `with` raises, and the generator has no finally."""
    with hashing(prov):
        fails()


def context_manager_mended(prov: Any) -> None:
    """The body does not raise."""
    with hashing(prov) as h:
        assert h.value


@contextlib.contextmanager
def giving(prov: Any) -> Any:
    """Give a hash away for good."""
    yield opened(prov)


def given_context_manager(prov: Any) -> None:
    """Who gets it takes it for a loan; what contextlib passes on is not told."""
    with giving(prov) as h:  # got
        h.value += 0


def given_context_manager_mended(prov: Any) -> None:
    """It is released."""
    with giving(prov) as h:
        lib.CryptDestroyHash(h)


class Careless:
    """A context manager whose end does nothing."""

    def __enter__(self) -> Any:
        """Acquire."""
        self.h = opened(lib.prov)  # careless
        return self.h  # lent

    def __exit__(self, *error: object) -> None:
        """Do nothing."""


def careless_context_manager(prov: Any) -> None:
    """Its user relies on it."""
    with Careless() as h:
        h.value += 0


def careless_context_manager_mended(prov: Any) -> None:
    """Its user does not."""
    with Careless() as h:
        lib.CryptDestroyHash(h)


# --- coroutines -----------------------------------------------------------------------------------


async def waits(prov: Any) -> None:
    """Hash something that is waited for."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # waits
    await asyncio.sleep(60)  # waits here
    lib.CryptDestroyHash(h)  # waits releases


def cancelled(prov: Any) -> None:
    """Its task is cancelled."""

    async def main() -> None:
        task = asyncio.ensure_future(waits(prov))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


def cancelled_mended(prov: Any) -> None:
    """It has a finally."""

    async def careful() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        try:
            await asyncio.sleep(60)
        finally:
            lib.CryptDestroyHash(h)

    async def main() -> None:
        task = asyncio.ensure_future(careful())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


def timed_out(prov: Any) -> None:
    """A timeout cancels it from within its own task."""

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await waits(prov)

    asyncio.run(main())


def timed_out_mended(prov: Any) -> None:
    """Nothing times out."""

    async def main() -> None:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            lib.CryptDestroyHash(opened(prov))

    asyncio.run(main())


def coroutine_raises(prov: Any) -> None:
    """What it waits for raises."""

    async def failing() -> None:
        await asyncio.sleep(0)
        raise Stop

    async def main() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        await failing()  # left
        lib.CryptDestroyHash(h)  # release

    asyncio.run(main())


def coroutine_raises_mended(prov: Any) -> None:
    """It has a finally."""

    async def main() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        try:
            await asyncio.sleep(0)
            raise Stop
        finally:
            lib.CryptDestroyHash(h)

    asyncio.run(main())


class Pause:
    """What can be waited for without an event loop."""

    def __await__(self) -> Any:
        """Wait once."""
        yield


def coroutine_suspended(prov: Any) -> None:
    """It waits, and nobody resumes it."""

    async def stuck() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        await Pause()  # left
        lib.CryptDestroyHash(h)  # release

    coroutine = stuck()
    coroutine.send(None)
    kept.append(coroutine)


def coroutine_suspended_mended(prov: Any) -> None:
    """It is resumed."""

    async def stuck() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        await Pause()
        lib.CryptDestroyHash(h)

    coroutine = stuck()
    coroutine.send(None)
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def coroutine_returns(prov: Any) -> None:
    """A coroutine returns it to the one that awaits it."""

    async def make() -> Any:
        await asyncio.sleep(0)
        return opened(prov)  # make

    async def main() -> int:
        h = await make()  # got
        if h.value:
            return 1  # left
        lib.CryptDestroyHash(h)  # release
        return 2

    asyncio.run(main())


def coroutine_returns_mended(prov: Any) -> None:
    """Who awaits it releases it."""

    async def make() -> Any:
        await asyncio.sleep(0)
        return opened(prov)

    async def main() -> None:
        lib.CryptDestroyHash(await make())

    asyncio.run(main())


def asynchronous_generator(prov: Any) -> None:
    """It is closed before its end."""

    async def numbers() -> Any:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        yield 1  # left
        lib.CryptDestroyHash(h)  # release

    async def main() -> None:
        running = numbers()
        await running.__anext__()
        await running.aclose()

    asyncio.run(main())


def asynchronous_generator_mended(prov: Any) -> None:
    """It is exhausted."""

    async def numbers() -> Any:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        yield 1
        lib.CryptDestroyHash(h)

    async def main() -> None:
        async for _ in numbers():
            pass

    asyncio.run(main())


# --- kept -----------------------------------------------------------------------------------------


class Owner:
    """Acquires what it keeps."""

    def __init__(self, prov: Any) -> None:
        self.h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(self.h))  # owner

    def close(self) -> None:
        """Release it."""
        lib.CryptDestroyHash(self.h)  # owner closes


def kept_in_an_object(prov: Any) -> None:
    """An object acquires it for itself and is kept, and nobody closes it."""
    table["owner"] = Owner(prov)


def kept_in_an_object_mended(prov: Any) -> None:
    """It is closed."""
    owner = Owner(prov)
    owner.close()


def kept_in_a_list(prov: Any) -> None:
    """It is put into a list that lives on."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    kept.append(h)  # kept, left


def kept_in_a_list_mended(prov: Any) -> None:
    """What is in the list is released."""
    kept.append(opened(prov))
    while kept:
        lib.CryptDestroyHash(kept.pop())


def kept_in_a_table(prov: Any) -> None:
    """It is put into a table that lives on, under a name that must not be quoted."""
    table["secret name"] = opened(prov)  # kept, left


def kept_in_a_table_mended(prov: Any) -> None:
    """It is taken out and released."""
    table["secret name"] = opened(prov)
    lib.CryptDestroyHash(table.pop("secret name"))


def kept_in_a_global(prov: Any) -> None:
    """It is put into a global variable."""
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(shared))  # acquired, left


def kept_in_a_global_mended(prov: Any) -> None:
    """It is released from there."""
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(shared))
    lib.CryptDestroyHash(shared)


# --- handle objects -------------------------------------------------------------------------------


def object_raised(_prov: Any) -> None:
    """A method releases a handle object, and an exception skips it."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    try:
        h = provider.CryptCreateHash(SHA, None)  # acquired
        fails()  # left
        h.CryptDestroyHash()  # release
    finally:
        provider.CryptReleaseContext()


def object_raised_mended(_prov: Any) -> None:
    """It has a finally of its own."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    try:
        h = provider.CryptCreateHash(SHA, None)
        try:
            fails()
        finally:
            h.CryptDestroyHash()
    finally:
        provider.CryptReleaseContext()


def object_returned(_prov: Any) -> None:
    """An object is returned in another one and forgotten there."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)

    def make() -> Holder:
        return Holder(provider.CryptCreateHash(SHA, None))  # acquired

    holder = make()  # got
    provider.CryptReleaseContext()  # left
    holder.h.CryptDestroyHash()  # release


def object_returned_mended(_prov: Any) -> None:
    """It is destroyed before the context."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    holder = Holder(provider.CryptCreateHash(SHA, None))
    holder.h.CryptDestroyHash()
    provider.CryptReleaseContext()


def object_dropped(_prov: Any) -> None:
    """The last reference goes, and the destructor has to release."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    h = provider.CryptCreateHash(SHA, None)  # acquired
    h.CryptHashData(b"data")
    del h  # left
    provider.CryptReleaseContext()


def object_dropped_mended(_prov: Any) -> None:
    """It is destroyed first."""
    provider = crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    h = provider.CryptCreateHash(SHA, None)
    h.CryptHashData(b"data")
    h.CryptDestroyHash()
    del h
    provider.CryptReleaseContext()


# --- nesting, recursion, threads ------------------------------------------------------------------


def recursion(prov: Any, depth: int = 3) -> None:
    """Only the innermost level leaks; the others release."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
    if depth == 0:
        return  # left
    recursion(prov, depth - 1)
    lib.CryptDestroyHash(h)  # release


def recursion_mended(prov: Any, depth: int = 3) -> None:
    """Every level releases."""
    h = c_size_t()
    lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
    if depth:
        recursion_mended(prov, depth - 1)
    lib.CryptDestroyHash(h)


def nested(prov: Any) -> None:
    """An inner function acquires for the outer one, which returns too early."""
    h = c_size_t()

    def begin() -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired

    begin()  # got
    if h.value:
        return  # left
    lib.CryptDestroyHash(h)  # release


def nested_mended(prov: Any) -> None:
    """It does not."""
    h = c_size_t()

    def begin() -> None:
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))

    begin()
    lib.CryptDestroyHash(h)


def in_a_thread(prov: Any) -> None:
    """A thread's function is left by an exception."""

    def work() -> None:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        fails()  # left
        lib.CryptDestroyHash(h)  # release

    def guarded() -> None:
        with contextlib.suppress(Stop):
            work()

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(60)


def in_a_thread_mended(prov: Any) -> None:
    """It releases."""

    def work() -> None:
        lib.CryptDestroyHash(opened(prov))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)


def out_of_a_thread(prov: Any) -> None:
    """A thread's function returns it to where nobody takes it."""
    thread = threading.Thread(target=opened, args=(prov,))
    thread.start()
    thread.join(60)


def out_of_a_thread_mended(prov: Any) -> None:
    """It is passed through a list."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(opened(prov)))
    thread.start()
    thread.join(60)
    lib.CryptDestroyHash(found[0])


def released_by_a_helper(prov: Any) -> None:
    """The release is a function of the program's own, which an exception skips."""
    h = opened(prov)  # got
    fails()  # left
    dispose(h)  # release


def released_by_a_helper_mended(prov: Any) -> None:
    """It stands in a finally."""
    h = opened(prov)
    try:
        fails()
    finally:
        dispose(h)


def dispose(h: Any) -> None:
    """Release a hash."""
    lib.CryptDestroyHash(h)


def under_another_name(prov: Any) -> None:
    """The release has another name here."""
    destroy = lib.CryptDestroyHash
    h = opened(prov)  # got
    copy = h  # copied
    fails()  # left
    destroy(copy)  # release


def under_another_name_mended(prov: Any) -> None:
    """It is reached."""
    destroy = lib.CryptDestroyHash
    destroy(opened(prov))


def walrus(prov: Any) -> int:
    """It is bound by an assignment expression."""
    if (h := opened(prov)).value:  # got
        return 1  # left
    lib.CryptDestroyHash(h)  # release
    return 2


def walrus_mended(prov: Any) -> int:
    """It is released."""
    if (h := opened(prov)).value:
        lib.CryptDestroyHash(h)
    return 1


def half_of_a_pair(prov: Any) -> None:
    """Two come at once, and one of them is released."""

    def pair() -> tuple[Any, Any]:
        return opened(prov), opened(prov)

    both = pair()  # got
    lib.CryptDestroyHash(both[1])  # release, left


def half_of_a_pair_mended(prov: Any) -> None:
    """Both are released."""

    def pair() -> tuple[Any, Any]:
        return opened(prov), opened(prov)

    both = pair()
    lib.CryptDestroyHash(both[1])
    lib.CryptDestroyHash(both[0])


def every_other_time(prov: Any) -> None:
    """One exit of five leaks, the others of the same site release."""

    def hashing(number: int) -> int:
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))  # acquired
        if number == 3:
            return 1  # left
        lib.CryptDestroyHash(h)  # release
        return 2

    for number in range(5):
        hashing(number)


def every_other_time_mended(prov: Any) -> None:
    """No exit leaks."""
    for _ in range(5):
        h = c_size_t()
        lib.CryptCreateHash(prov, SHA, 0, 0, byref(h))
        lib.CryptDestroyHash(h)
