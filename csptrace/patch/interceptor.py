"""The one wrapper: read arguments, check, call, judge success, apply effects.

`compile_call` turns one row of a spec and one binding into one specialised function, once, when a
function is patched. A call that only uses handles costs one dictionary look-up; everything else
is decided before the first call.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from csptrace.errors import CspTraceWarning, HandleError, HandleLeak
from csptrace.model import LIVE, Fate
from csptrace.specs.vocabulary import (
    LIBRARY,
    OWNER,
    RETURN,
    Acquires,
    AddsRef,
    Call,
    Condition,
    Effect,
    Ends,
    Exposes,
    Finds,
    Kind,
    Reference,
    Releases,
    ReleasesAll,
    Success,
    Uses,
)
from csptrace.threads import get_ident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType, FrameType

    from csptrace.model import CallSite, Handle
    from csptrace.patch.codecs import Codec
    from csptrace.specs.vocabulary import Question

__all__ = [
    "DELIBERATE",
    "THE_LIBRARY",
    "Guards",
    "LastError",
    "Monitor",
    "Outcome",
    "Sheltered",
    "Signature",
    "Swept",
    "compile_call",
    "compile_own_use",
    "in_flight",
    "is_deliberate",
    "only_uses",
]

Arguments: TypeAlias = tuple[Any, ...]
Keywords: TypeAlias = dict[str, Any]
Reader: TypeAlias = "Callable[[Arguments, Keywords], Any]"
Predicate: TypeAlias = "Callable[[Arguments, Keywords], bool]"
Finder: TypeAlias = "Callable[[Any], Handle | None]"
Enter: TypeAlias = (
    "Callable[[int, Handle | None, tuple[Handle, ...], str, FrameType | None], Handle]"
)
Begin: TypeAlias = "Callable[[int, Handle | None, FrameType | None, list[Handle]], None]"
Settle: TypeAlias = "Callable[[Handle, FrameType | None, Fate], HandleLeak | None]"

DELIBERATE = (HandleError, HandleLeak, CspTraceWarning)
"""What a tracer raises on purpose; anything else that comes out of it is its own bug."""


def is_deliberate(error: Any) -> bool:
    """Tell pytest to leave the tracer's frames out of the traceback of a misuse."""
    return isinstance(error.value, DELIBERATE)


__tracebackhide__ = is_deliberate


Settlement: TypeAlias = "Callable[[Fate, Any], HandleLeak | None]"
Guards: TypeAlias = "tuple[tuple[Callable[[int], Handle | None], int], ...]"
"""What a call depends on without naming it: look-up and value, the way in first, then the library.
A handle that is not known must come from the library, so it is dead when the library is."""

THE_LIBRARY = 1
"""The value of the one library of a realm."""


class Monitor(Protocol):
    """What the interceptor reports to; implemented by the tracer.

    The methods that take a `frame` may raise one of `DELIBERATE`, and nothing else. The frame is
    the program's call, `None` if no Python code made it (`atexit`, a thread's own function).
    """

    active: bool
    touches: bool
    """Whether every use has to be recorded with its stack (level `full`)."""
    called: bool
    """Whether a traced call was made; every compiled function sets it."""

    def table(self, kind: Kind) -> dict[int, Handle]:
        """Return the live dictionary value → handle of a kind."""

    def misused(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Judge the use of a handle whose `alert` is set."""

    def touched(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Record a use."""

    def acquirer(self, kind: Kind, site: CallSite) -> Enter:
        """Return a function `(value, parent, needs, name, frame)` that enters a new handle."""

    def releaser(self, kind: Kind, site: CallSite) -> tuple[Begin, Settle]:
        """Return `begin(value, handle, frame, marks)` and `settle(handle, frame, fate)`.

        The first judges a release, marks the handle and puts it into `marks`, but not if the
        release is wrong and is made all the same. The second confirms or rolls back, and returns
        the error to raise, if leaks raise.
        """

    def unseen(self, handed_out: Iterable[Kind], released: Iterable[Kind] = ()) -> None:
        """Note which kinds of handles may be handed out or released without being seen."""

    def forget(self, kind: Kind, value: int | None) -> None:
        """Forget the dead or dying handle whose value may have been handed out again, unseen."""

    def borrowed(self, kind: Kind, value: int) -> Handle:
        """Return the handle with a value, entering it without a duty if it is unknown."""

    def found(
        self,
        kind: Kind,
        values: Iterable[int],
        beside: Handle | None,
        site: CallSite,
        frame: FrameType | None,
    ) -> list[Handle]:
        """Return the handles that a call has handed out without a duty, entering the unknown."""

    def ref_added(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Count one more reference."""

    def handed_over(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that the provider releases the handle from now on."""

    def completed(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that what a call had begun is complete."""

    def begin_sweep(
        self,
        kind: Kind,
        parent: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        *,
        below: bool = False,
        asking: Question | None = None,
    ) -> Swept:
        """Mark every live handle of a kind; return those to be settled."""

    def settle_sweep(
        self, swept: Swept, site: CallSite, frame: FrameType | None, *, released: bool
    ) -> HandleLeak | None:
        """Confirm or roll back the end of many handles; return the error to raise, if any."""

    def broken(self, site: CallSite, error: BaseException) -> None:
        """Note a bug of the tracer itself; the program goes on."""


class Swept(NamedTuple):
    """What a call ends if it succeeds.

    Attributes:
        handles: what is certain, marked.
        doubtful: what the provider has not been asked about.
    """

    handles: list[Handle]
    doubtful: list[Handle]


class Sheltered:
    """Keeps a bug of the tracer from the program whose call, import or object led to it.

    For `with`: what is raised in the block is reported to the monitor and goes no further, unless
    it is raised on purpose, is not the tracer's, or is no `Exception` (Ctrl-C).

    Args:
        monitor: is told.
        site: what was done, as a complaint names it.
    """

    __slots__ = ("_monitor", "_site")

    def __init__(self, monitor: Monitor, site: CallSite) -> None:
        self._monitor = monitor
        self._site = site

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Report what was raised; return whether it goes no further."""
        if not isinstance(error, Exception) or isinstance(error, DELIBERATE):
            return False
        _note(self._monitor, self._site, error)
        return True


def _note(monitor: Monitor, site: CallSite, error: Exception) -> None:
    if not isinstance(error, RecursionError):  # there is no room for a complaint
        monitor.broken(site, error)


class LastError(Protocol):
    """Saves and restores the thread's last error around bookkeeping."""

    def save(self) -> int:
        """Return the thread's last error."""

    def restore(self, code: int) -> None:
        """Set it again."""


class Signature(NamedTuple):
    """Where a Python call carries each C parameter.

    Attributes:
        positions: C parameter → position among the positional arguments.
        keywords: C parameter → keyword name, for callables that accept keywords.
        result: the C out parameter that the Python call returns, empty if none.
        many: whether it returns several of them.
        attributes: C parameter → attribute of the object that the call is made on.
        owner: the value that stands for the object through which a library is called.
    """

    positions: dict[str, int]
    keywords: dict[str, str]
    result: str = ""
    many: bool = False
    attributes: dict[str, str] = {}  # noqa: RUF012 - never changed
    owner: int | None = None

    @classmethod
    def of(cls, call: Call) -> Signature:
        """Return C's own signature."""
        return cls({name: index for index, name in enumerate(call.params)}, {})

    def reader(self, param: str) -> Reader | None:
        """Return the accessor of a C parameter, `None` if this signature lacks it."""
        if param in (LIBRARY, OWNER):
            constant = THE_LIBRARY if param == LIBRARY else self.owner
            return lambda _args, _kwargs: constant
        attribute = self.attributes.get(param)
        if attribute is not None:
            return lambda args, _kwargs: getattr(args[0], attribute) if args else None
        position = self.positions.get(param)
        if position is None:
            return None
        keyword = self.keywords.get(param, "")

        def read(args: Arguments, kwargs: Keywords) -> Any:
            return args[position] if position < len(args) else kwargs.get(keyword)

        return read


class Outcome(NamedTuple):
    """What the native function returned before a program's own `errcheck` made something of it."""

    result: Any


class Handles(Protocol):
    """How a binding finds the handle in an argument, and its value if it is unknown."""

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle, `None` for an unknown or null one."""

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the value under which an unknown handle is entered, `None` for a null one."""

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:
        """Return what the program gets in place of a handle that a call returned."""


class Numbers:
    """Handles that are numbers, the same for every C-like binding."""

    def __init__(self, codec: Codec, monitor: Monitor) -> None:
        self._codec = codec
        self._monitor = monitor

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle."""
        get, value = self._monitor.table(kind).get, self._codec.value
        return lambda argument: get(value(argument))  # type: ignore[arg-type]

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the number, `None` for a null one."""
        number = self._codec.value(argument)
        return None if number is None or number in kind.null else number

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:  # noqa: ARG002
        """Return the result as it is."""
        return result


def compile_call(
    call: Call,
    site: CallSite,
    native: Callable[..., Any],
    signature: Signature,
    success: Success,
    codec: Codec,
    monitor: Monitor,
    *,
    handles: Handles | None = None,
    last_error: LastError | None = None,
    outcome: Callable[[bool], Outcome | None] | None = None,
    guards: Guards = (),
    expose: Callable[[Any, bool], None] | None = None,
) -> Callable[..., Any]:
    """Compile one row of a spec into the function that replaces a native one.

    Args:
        call: the row.
        site: what the call is named in reports.
        native: calls the provider.
        signature: where the Python call carries C's parameters.
        success: how success is told from failure.
        codec: how numbers and out parameters are carried.
        monitor: what is reported to.
        handles: how handles are found in arguments; by number if not given.
        last_error: saves the thread's last error around bookkeeping, where there is one.
        outcome: returns and forgets the raw result of the last native call in this thread, where
            the program can put its own check in between; is told whether the call returned.
        guards: what the call depends on without naming it.
        expose: is given the out argument behind which a table of functions was written, and
            whether they are to be traced.

    Returns:
        A function with the signature of `native`.
    """
    general = _General(
        call,
        site,
        signature,
        success,
        codec,
        monitor,
        handles or Numbers(codec, monitor),
        last_error,
        outcome,
        guards,
        expose,
    )
    if only_uses(call):
        if handles is None:
            return _compile_uses(call, site, native, signature, codec, monitor, guards)
        if not monitor.touches:
            return _compile_object_uses(call, site, native, signature, handles, monitor, guards)
    if handles is None:
        if general.only_acquires():
            return general.compile_acquisition(native)
        if general.only_releases():
            return general.compile_release(native)
    return general.compile(native)


def only_uses(call: Call) -> list[Uses]:
    """Return the uses of a row that does nothing else and asks nothing, empty for any other."""
    plain = [effect for effect in call.effects if _plain_use(effect)]
    return plain if len(plain) == len(call.effects) else []  # type: ignore[return-value]


def _plain_use(effect: object) -> bool:
    return (
        isinstance(effect, Uses)
        and effect.hands_over is None
        and effect.when is None
        and not effect.waits
        and effect.param not in (LIBRARY, OWNER)
    )


def _compile_uses(
    call: Call,
    site: CallSite,
    native: Callable[..., Any],
    signature: Signature,
    codec: Codec,
    monitor: Monitor,
    guards: Guards,
) -> Callable[..., Any]:
    """Compile the hot path: a call that needs valid handles and changes nothing.

    A handle value that is out of range for the arguments, of a foreign type or unknown is left
    to the provider. While tracing is stopped the tables are empty, so that nothing is found.
    """
    value_of, misused, touched = codec.value, monitor.misused, monitor.touched
    simple = codec.simple
    used = [effect for effect in call.effects if isinstance(effect, Uses)]
    tables = [
        (signature.positions[effect.param], monitor.table(effect.kind).get) for effect in used
    ]
    if len(tables) == 1 and not monitor.touches:
        ((index, get),) = tables

        def traced_one(*args: Any, **kwargs: Any) -> Any:
            monitor.called = True
            if len(args) > index:
                value = args[index]
                cls = type(value)
                if cls is not int:
                    value = value.value if cls in simple else value_of(value)
                elif value < 0:  # passed on as unsigned
                    value = value_of(value)
                handle = get(value)
                if handle is not None:
                    if handle.alert:
                        misused(handle, site, _caller())
                    handle.uses += 1
                elif guards:
                    _check(guards, monitor, site, _caller())
            return native(*args, **kwargs)

        _TRACED[traced_one.__code__] = _the_handle
        return traced_one

    def traced(*args: Any, **kwargs: Any) -> Any:
        monitor.called = True
        count = len(args)
        for index, get in tables:
            if count > index:
                value = args[index]
                cls = type(value)
                if cls is not int:
                    value = value.value if cls in simple else value_of(value)
                elif value < 0:  # passed on as unsigned
                    value = value_of(value)
                handle = get(value)
                if handle is not None:
                    if handle.alert:
                        misused(handle, site, _caller())
                    handle.uses += 1
                    if monitor.touches:
                        touched(handle, site, _caller())
                elif guards:
                    _check(guards, monitor, site, _caller())
        return native(*args, **kwargs)

    _TRACED[traced.__code__] = _by_value_again
    return traced


def _compile_object_uses(
    call: Call,
    site: CallSite,
    native: Callable[..., Any],
    signature: Signature,
    handles: Handles,
    monitor: Monitor,
    guards: Guards,
) -> Callable[..., Any]:
    """Compile the hot path of a binding whose handles are objects."""
    misused = monitor.misused
    used = [effect for effect in call.effects if isinstance(effect, Uses)]
    if len(used) == 1 and used[0].param in signature.positions:
        find_one = handles.finder(used[0].kind)
        index = signature.positions[used[0].param]

        def traced_object(*args: Any, **kwargs: Any) -> Any:
            monitor.called = True
            if len(args) > index:
                try:
                    handle = find_one(args[index])
                except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
                    _note(monitor, site, error)
                    handle = None
                if handle is not None:
                    if handle.alert:
                        misused(handle, site, _caller())
                    handle.uses += 1
                elif guards:
                    _check(guards, monitor, site, _caller())
            return native(*args, **kwargs)

        _TRACED[traced_object.__code__] = _the_handle
        return traced_object

    finders = [
        (read, handles.finder(effect.kind))
        for effect in used
        if (read := signature.reader(effect.param)) is not None
    ]

    def traced_objects(*args: Any, **kwargs: Any) -> Any:
        monitor.called = True
        for read, find in finders:
            try:
                handle = find(read(args, kwargs))
            except Exception as error:  # noqa: BLE001 - as above
                _note(monitor, site, error)
                handle = None
            if handle is not None:
                if handle.alert:
                    misused(handle, site, _caller())
                handle.uses += 1
            elif guards:
                _check(guards, monitor, site, _caller())
        return native(*args, **kwargs)

    _TRACED[traced_objects.__code__] = _found_again
    return traced_objects


def compile_own_use(
    site: CallSite,
    handle: Handle,
    native: Callable[..., Any],
    unwrap: Callable[[Any], Any],
    monitor: Monitor,
) -> Callable[..., Any]:
    """Compile the hot path of one wrapped object: a method that only uses its own handle.

    Args:
        site: what the call is named in reports.
        handle: the object's handle.
        native: the method of the wrapped object, bound to it.
        unwrap: takes the proxies out of an argument that is no plain value.
        monitor: what is reported to.

    Returns:
        A function for the proxy itself, in place of its class's method: it saves the binding.
    """
    misused = monitor.misused

    def traced_own(*args: Any, **kwargs: Any) -> Any:
        monitor.called = True
        if handle.alert:
            misused(handle, site, _caller())
        handle.uses += 1
        for argument in args:
            if type(argument) not in _PLAIN:
                args = tuple(map(unwrap, args))
                break
        return native(*args, **(unwrap(kwargs) if kwargs else kwargs))

    _TRACED[traced_own.__code__] = _the_handle
    return traced_own


_PLAIN = frozenset({int, str, bytes, type(None), bool, float})


def _check(guards: Guards, monitor: Monitor, site: CallSite, frame: FrameType | None) -> None:
    """Judge a call that names no known handle by what it depends on."""
    for get, value in guards:
        handle = get(value)
        if handle is not None and handle.alert:
            monitor.misused(handle, site, frame)


def _is_to_enter(handle: Handle | None) -> bool:
    """Return whether a handle that a call names has to be entered: it is unknown or of a past life.

    What callers name without having acquired it (a slot) is there again whenever its library is.
    """
    return handle is None or (handle.kind.given and handle.state != LIVE)


# --- calls that are under way ---------------------------------------------------------------------
# Which thread is inside which call is not noted, since that would cost something at every call: the
# stacks of the threads say it when somebody asks, which only the release of what must not be
# released in between does.

_TRACED: dict[CodeType, Callable[[Mapping[str, Any]], Iterable[Handle | None]]] = {}
"""The compiled functions' code objects, and how to read the handles off one's local variables."""
_MOST_FRAMES_INSIDE = 12
"""How many frames a binding has between the compiled function and the native call, at most."""


def in_flight() -> Iterable[tuple[int, FrameType, CallSite, list[Handle]]]:
    """Return the calls that other threads are inside of.

    Returns:
        For each: the thread, the frame of the compiled function, the call, and the handles that
        it uses. Nothing without a GIL, where a running frame of another thread cannot be read.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return []
    frames = sys._current_frames()
    # A frame that refers to itself keeps what all its callers have, until the next collection.
    del frames[get_ident()]
    found = []
    for ident, top in frames.items():
        frame: FrameType | None = top
        for _ in range(_MOST_FRAMES_INSIDE):
            if frame is None:
                break
            read = _TRACED.get(frame.f_code)
            if read is not None:
                local = frame.f_locals
                used = [handle for handle in read(local) if handle is not None]
                if used:
                    found.append((ident, frame, local["site"], used))
                break
            frame = frame.f_back
    return found


def _the_handle(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    return (local.get("handle"),)


def _by_value_again(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    args, value_of = local["args"], local["value_of"]
    return [get(value_of(args[index])) for index, get in local["tables"] if len(args) > index]


def _found_again(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    args, kwargs = local["args"], local["kwargs"]
    return [find(read(args, kwargs)) for read, find in local["finders"]]


def _of_general(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    if local.get("plain") is not _UNKNOWN:  # it is before or after the native call
        return ()
    found: list[Handle | None] = local["row"].handles_in(local["args"], local["kwargs"])
    return found


def _caller() -> Any:
    """Return the frame that called our caller, `None` if no Python code did."""
    try:
        return sys._getframe(2)
    except ValueError:
        return None


class _Acquisition(NamedTuple):
    kind: Kind
    enter: Enter
    out: Callable[[Arguments, Keywords, Any], int | None]
    parent: Callable[[Arguments, Keywords], Handle | None] | None
    needs: Callable[[Arguments, Keywords], tuple[Handle, ...]] | None
    when: Predicate | None
    first: Predicate | None
    name: Callable[[Arguments, Keywords], str] | None
    shared: bool


class _Find(NamedTuple):
    kind: Kind
    values: Callable[[Arguments, Keywords, Any], list[int]]
    beside: Callable[[Arguments, Keywords], Handle | None] | None
    when: Predicate | None


class _Release(NamedTuple):
    kind: Kind
    begin: Begin
    settle: Settle
    read: Reader
    find: Finder
    when: Predicate | None
    even_on_failure: Predicate | None
    again: bool


class _Sweep(NamedTuple):
    kind: Kind
    under: Callable[[Arguments, Keywords], Handle | None] | None
    below: bool
    asking: Question | None
    when: Predicate | None


class _General:
    """A call that changes the graph, or whose handles are objects."""

    def __init__(
        self,
        call: Call,
        site: CallSite,
        signature: Signature,
        success: Success,
        codec: Codec,
        monitor: Monitor,
        handles: Handles,
        last_error: LastError | None,
        outcome: Callable[[bool], Outcome | None] | None,
        guards: Guards,
        expose: Callable[[Any, bool], None] | None,
    ) -> None:
        self.call = call
        self.site = site
        self.signature = signature
        self.codec = codec
        self.monitor = monitor
        self.handles = handles
        self.last_error = last_error
        self.outcome = outcome
        self.succeeded = _SUCCESS[success]
        self.guards = guards
        self.expose = expose
        self.uses: list[tuple[Reader, Finder, Predicate | None]] = []
        self.holds: list[tuple[Reader, Finder]] = []
        self.refs: list[tuple[Kind, Reader]] = []
        self.hand_overs: list[tuple[Kind, Reader, Predicate]] = []
        self.releases: list[_Release] = []
        self.acquisitions: list[_Acquisition] = []
        self.finds: list[_Find] = []
        self.sweeps: list[_Sweep] = []
        self.ends: list[tuple[Ends, Reader, Predicate | None]] = []
        self.exposes: list[tuple[Reader, bool]] = []
        for effect in call.effects:
            self._add(effect)
        own = any(OWNER in (getattr(e, "out", ""), getattr(e, "param", "")) for e in call.effects)
        self.goes_through: Guards = () if signature.owner is None or own else guards[:1]
        # What a binding does only if it is to be done, it does not do without a library.
        self.idle_without_way = any(release.again for release in self.releases) or any(
            acquisition.shared for acquisition in self.acquisitions
        )

    def _add(self, effect: Effect) -> None:
        if isinstance(effect, Acquires):
            when = self._predicate(effect.when)
            late = effect.when is not None and effect.when.reads_result()
            self.acquisitions.append(
                _Acquisition(
                    effect.kind,
                    self.monitor.acquirer(effect.kind, self.site),
                    self._out(effect),
                    self._one(effect.under, effect.kind.under) if effect.under else None,
                    self._many(effect.needs) if effect.needs else None,
                    when if late else None,
                    None if late else when,
                    self._text(effect.named),
                    effect.shared,
                )
            )
            return
        if isinstance(effect, Finds):
            beside = (
                self._one(Reference("parent", effect.beside), effect.kind.under)
                if effect.beside
                else None
            )
            self.finds.append(
                _Find(effect.kind, self._found(effect), beside, self._predicate(effect.when))
            )
            return
        if isinstance(effect, ReleasesAll):
            under = None
            if effect.under or effect.beside:
                how = Reference(
                    "parent" if effect.beside else "param", effect.beside or effect.under
                )
                under = self._one(how, effect.kind.under)
                if under is None:
                    return  # this binding does not say under which parent
            self.sweeps.append(
                _Sweep(
                    effect.kind,
                    under,
                    bool(effect.beside),
                    effect.asking,
                    self._predicate(effect.when),
                )
            )
            return
        if isinstance(effect, Exposes):
            read = self.signature.reader(effect.out)
            if read is not None:
                self.exposes.append((read, effect.traced))
            return
        if isinstance(effect, Ends):
            read = self._number(effect.param)
            if read is not None:
                self.ends.append((effect, read, self._predicate(effect.when)))
            return
        read = self.signature.reader(effect.param)
        if read is None:
            return
        find = self.handles.finder(effect.kind)
        if not (isinstance(effect, Uses) and effect.waits):
            self.holds.append((read, find))
        if isinstance(effect, Uses):
            self.uses.append((read, find, self._predicate(effect.when)))
            when = self._predicate(effect.hands_over)
            if when is not None:
                self.hand_overs.append((effect.kind, read, when))
        elif isinstance(effect, AddsRef):
            self.uses.append((read, find, None))
            self.refs.append((effect.kind, read))
        else:
            self.releases.append(
                _Release(
                    effect.kind,
                    *self.monitor.releaser(effect.kind, self.site),
                    read,
                    find,
                    self._predicate(effect.when),
                    self._predicate(effect.even_on_failure),
                    effect.again,
                )
            )

    def handles_in(self, args: Arguments, kwargs: Keywords) -> list[Handle | None]:
        """Return the handles that a call with these arguments is about."""
        return [find(read(args, kwargs)) for read, find in self.holds]

    # --- compiling the parts of a row ---------------------------------------------------------

    def _predicate(self, condition: Condition | None) -> Predicate | None:
        """Turn a condition into a function of the arguments.

        A parameter that this binding's signature lacks counts as 0 for numbers and as given for
        pointers, since the binding then fills it itself.
        """
        if condition is None:
            return None
        if condition.parts:
            parts = [part for part in map(self._predicate, condition.parts) if part is not None]
            if condition.test == "every":
                return lambda args, kwargs: all(part(args, kwargs) for part in parts)
            if condition.test == "either":
                return lambda args, kwargs: any(part(args, kwargs) for part in parts)
            (only,) = parts
            return lambda args, kwargs: not only(args, kwargs)
        if condition.test == "always":
            return lambda _args, _kwargs: True
        read = self.signature.reader(condition.param)
        if read is None:
            absent = condition.test == "given"
            return lambda _args, _kwargs: absent
        wanted, value, stored = condition.value, self.codec.value, self.codec.stored
        match condition.test:
            case "flag":
                return lambda args, kwargs: (value(read(args, kwargs)) or 0) & wanted == wanted
            case "equals":
                return lambda args, kwargs: (value(read(args, kwargs)) or 0) & 0xFFFFFFFF == wanted
            case "nonzero":
                return lambda args, kwargs: bool(value(read(args, kwargs)))
            case "given":
                return lambda args, kwargs: value(read(args, kwargs)) != 0
            case "stored":  # a BOOL or DWORD; what lies behind it is read, too
                return lambda args, kwargs: bool((stored(read(args, kwargs)) or 0) & 0xFFFFFFFF)
            case _:  # a DWORD that a program may have declared signed
                return lambda args, kwargs: (stored(read(args, kwargs)) or 0) & 0xFFFFFFFF == wanted

    def _out(self, effect: Acquires | Finds) -> Callable[[Arguments, Keywords, Any], int | None]:
        kind, handles, stored = effect.kind, self.handles, self.codec.stored
        valued = isinstance(effect, Acquires) and effect.valued
        if valued or effect.out in (LIBRARY, OWNER):
            number = self._number(effect.out)
            if number is None:
                return lambda _args, _kwargs, _result: None
            return lambda args, kwargs, _result: number(args, kwargs)
        if effect.out in (RETURN, self.signature.result):
            return lambda _args, _kwargs, result: handles.value(kind, result)
        read = self.signature.reader(effect.out)
        if read is None:
            return lambda _args, _kwargs, _result: None
        null = kind.null

        def out(args: Arguments, kwargs: Keywords, _result: Any) -> int | None:
            value = stored(read(args, kwargs))
            return None if value is None or value in null else value

        return out

    def _found(self, effect: Finds) -> Callable[[Arguments, Keywords, Any], list[int]]:
        """Return a function that gives the values which a call has handed out."""
        read = self.signature.reader(effect.out)
        if effect.count and effect.out != self.signature.result and read is not None:
            size, listed = self.signature.reader(effect.count), self.codec.listed
            stored, null = self.codec.stored, effect.kind.null

            def values(args: Arguments, kwargs: Keywords, _result: Any) -> list[int]:
                count = None if size is None else stored(size(args, kwargs))
                return [each for each in listed(read(args, kwargs), count) if each not in null]

            return values
        one = self._out(effect)

        def value(args: Arguments, kwargs: Keywords, result: Any) -> list[int]:
            found = one(args, kwargs, result)
            return [] if found is None else [found]

        return value

    def _number(self, param: str) -> Callable[[Arguments, Keywords], int | None] | None:
        """Return a function that gives the value of the handle in a parameter, known or not."""
        read = self.signature.reader(param)
        if read is None or param in (LIBRARY, OWNER):
            return read
        kind = next(
            (e.kind for e in self.call.effects if isinstance(e, Uses) and e.param == param), None
        )
        if kind is None:
            return None
        find, handles = self.handles.finder(kind), self.handles

        def number(args: Arguments, kwargs: Keywords) -> int | None:
            argument = read(args, kwargs)
            handle = find(argument)
            return handles.value(kind, argument) if handle is None else handle.value

        return number

    def _one(
        self, reference: Reference, kind: Kind | None
    ) -> Callable[[Arguments, Keywords], Handle | None] | None:
        """Return a function that gives the handle a row refers to, entering an unknown one."""
        read = self.signature.reader(reference.param)
        if read is None or kind is None:
            return None
        if reference.how == "parent":
            find_child = self._finder_of(reference.param)

            def parent(args: Arguments, kwargs: Keywords) -> Handle | None:
                child = find_child(read(args, kwargs))
                return None if child is None else child.parent

            return parent
        find, handles, monitor = self.handles.finder(kind), self.handles, self.monitor

        def one(args: Arguments, kwargs: Keywords) -> Handle | None:
            argument = read(args, kwargs)
            handle = find(argument)
            if _is_to_enter(handle):
                value = handles.value(kind, argument)
                if value is not None:
                    handle = monitor.borrowed(kind, value)
            return handle

        return one

    def _many(
        self, reference: Reference
    ) -> Callable[[Arguments, Keywords], tuple[Handle, ...]] | None:
        read = self.signature.reader(reference.param)
        if read is None:
            return None
        find, inherited = self._finder_of(reference.param), reference.how == "needs"

        def many(args: Arguments, kwargs: Keywords) -> tuple[Handle, ...]:
            handle = find(read(args, kwargs))
            if handle is None:
                return ()
            return handle.needs if inherited else (handle,)

        return many

    def _finder_of(self, param: str) -> Finder:
        """Return the finder for the kind that the row itself declares for a parameter."""
        for effect in self.call.effects:
            if isinstance(effect, Uses | AddsRef | Releases) and effect.param == param:
                return self.handles.finder(effect.kind)
        return lambda _argument: None

    def _text(self, param: str) -> Callable[[Arguments, Keywords], str] | None:
        read = self.signature.reader(param) if param else None
        if read is None:
            return None
        text = self.codec.text
        return lambda args, kwargs: text(read(args, kwargs))

    # --- the two commonest shapes -------------------------------------------------------------
    # They do what compile() does, with what never changes for the row decided beforehand: an
    # acquisition and its release are what a traced program pays for most.

    def only_acquires(self) -> bool:
        """Return whether the row uses handles and hands out one, under one of those it uses."""
        acquisitions = [e for e in self.call.effects if isinstance(e, Acquires) and not e.valued]
        used = {e.param for e in self.call.effects if isinstance(e, Uses) and _plain_use(e)}
        if len(acquisitions) != 1 or len(used) + 1 != len(self.call.effects):
            return False
        (effect,) = acquisitions
        return effect.out in self.signature.positions and all(
            reference is None or (reference.how == "param" and reference.param in used)
            for reference in (effect.under, effect.needs)
        )

    def compile_acquisition(  # noqa: C901 - everything is decided here, once, to be fast later
        self, native: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return the function that replaces `native`, for a row that `only_acquires`."""
        monitor, site, last_error = self.monitor, self.site, self.last_error
        outcome, succeeded, codec = self.outcome, self.succeeded, self.codec
        (row,) = self.acquisitions
        enter, when, name = row.enter, row.when or row.first, row.name
        forget = functools.partial(monitor.forget, row.kind)
        (effect,) = (e for e in self.call.effects if isinstance(e, Acquires))
        used = [e for e in self.call.effects if isinstance(e, Uses)]
        positions = self.signature.positions
        tables = [(positions[e.param], monitor.table(e.kind).get) for e in used]
        params = [e.param for e in used]
        parent_at = params.index(effect.under.param) if effect.under else -1
        needs_at = params.index(effect.needs.param) if effect.needs else -1
        parent_kind = used[parent_at].kind if effect.under else None
        out_at, null = positions[effect.out], row.kind.null
        simple, value_of, stored = codec.simple, codec.value, codec.stored
        misused, touches, touched = monitor.misused, monitor.touches, monitor.touched
        getframe, guards = sys._getframe, self.guards

        def traced(*args: Any, **kwargs: Any) -> Any:
            if not monitor.active:
                return native(*args, **kwargs)
            monitor.called = True
            count = len(args)
            values: list[Any] = []
            found: list[Handle | None] = []
            for index, get in tables:
                value: Any = args[index] if count > index else None
                cls = type(value)
                if cls is not int:
                    value = value.value if cls in simple else value_of(value)
                elif value < 0:  # passed on as unsigned
                    value = value_of(value)
                handle = get(value)
                if handle is not None:
                    if handle.alert:
                        misused(handle, site, _caller())
                    handle.uses += 1
                    if touches:
                        touched(handle, site, _caller())
                elif guards:
                    _check(guards, monitor, site, _caller())
                values.append(value)
                found.append(handle)
            raised: BaseException | None = None
            result = plain = _FAILED
            try:
                result = plain = native(*args, **kwargs)
            except BaseException as error:
                if not _refuses_arguments(error):
                    # It may have come from outside, after the provider had handed out a handle.
                    forget(stored(args[out_at]) if count > out_at else None)
                if outcome is None:
                    raise
                raised = error
            code = 0 if last_error is None else last_error.save()
            try:
                if outcome is not None and (raw := outcome(raised is None)) is not None:
                    plain = raw.result
                if (
                    plain is not _FAILED
                    and succeeded(plain)
                    and count > out_at
                    and (when is None or when(args, kwargs))
                ):
                    value = stored(args[out_at])
                    if value is not None and value not in null:
                        parent = None
                        if parent_at >= 0:
                            parent = found[parent_at]
                            above = values[parent_at]
                            if above and parent_kind is not None and _is_to_enter(parent):
                                parent = monitor.borrowed(parent_kind, above)
                        need = found[needs_at] if needs_at >= 0 else None
                        try:
                            frame = getframe(1)
                        except ValueError:  # no Python code made the call
                            frame = None
                        enter(
                            value,
                            parent,
                            () if need is None else (need,),
                            "" if name is None else name(args, kwargs),
                            frame,
                        )
            except DELIBERATE:
                raise
            except RecursionError:
                pass  # no room for a complaint; the call is what matters
            except BaseException as error:
                forget(stored(args[out_at]) if count > out_at else None)
                if not isinstance(error, Exception):
                    raise
                monitor.broken(site, error)
            if last_error is not None:
                last_error.restore(code)
            if raised is not None:
                try:
                    raise raised
                finally:
                    raised = None  # it holds this frame
            return result

        _TRACED[traced.__code__] = lambda local: local.get("found", ())
        return traced

    def only_releases(self) -> bool:
        """Return whether the row releases one handle and does nothing else."""
        return len(self.call.effects) == 1 and any(
            isinstance(effect, Releases) and effect.param in self.signature.positions
            for effect in self.call.effects
        )

    def compile_release(self, native: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function that replaces `native`, for a row that `only_releases`."""
        monitor, site, last_error = self.monitor, self.site, self.last_error
        outcome, succeeded, codec = self.outcome, self.succeeded, self.codec
        (row,) = self.releases
        kind, when, anyway = row.kind, row.when, row.even_on_failure
        null, get = {*kind.null, None}, monitor.table(kind).get
        (effect,) = (e for e in self.call.effects if isinstance(e, Releases))
        index = self.signature.positions[effect.param]
        simple, value_of = codec.simple, codec.value
        begin, settle = row.begin, row.settle
        getframe, guards = sys._getframe, self.guards

        def traced(*args: Any, **kwargs: Any) -> Any:
            if not monitor.active or len(args) <= index:
                return native(*args, **kwargs)
            monitor.called = True
            code = 0 if last_error is None else last_error.save()
            marks: list[Handle] = []
            fate = Fate.NOT_MADE
            plain: Any = _FAILED
            leak: HandleLeak | None = None
            frame: FrameType | None = None
            # An exception from outside (Ctrl-C, a signal handler's) may arrive at any point: what
            # was marked is settled in any case.
            try:
                try:
                    frame = getframe(1)
                except ValueError:  # no Python code made the call
                    frame = None
                try:
                    value: Any = args[index]
                    cls = type(value)
                    if cls is not int:
                        value = value.value if cls in simple else value_of(value)
                    elif value < 0:  # passed on as unsigned
                        value = value_of(value)
                    if value not in null and (when is None or when(args, kwargs)):
                        handle = get(value)
                        if handle is None and guards:
                            _check(guards, monitor, site, frame)
                        begin(value, handle, frame, marks)
                except DELIBERATE:
                    raise
                except RecursionError:
                    pass  # no room for a complaint; the call is what matters
                except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
                    monitor.broken(site, error)
                if last_error is not None:
                    last_error.restore(code)
                fate = Fate.UNKNOWN
                result = plain = native(*args, **kwargs)
            except BaseException as error:
                if fate is Fate.UNKNOWN and _refuses_arguments(error):
                    fate = Fate.NOT_MADE
                raise
            finally:
                if last_error is not None:
                    code = last_error.save()
                raw = None if outcome is None else outcome(plain is not _FAILED)
                if marks:
                    try:
                        if raw is not None:
                            plain = raw.result
                        if plain is not _FAILED:
                            gone = succeeded(plain) or (anyway is not None and anyway(args, kwargs))
                            fate = Fate.RELEASED if gone else Fate.REFUSED
                        leak = settle(marks[0], frame, fate)
                    except DELIBERATE:
                        raise
                    except RecursionError:
                        pass
                    except Exception as error:  # noqa: BLE001 - as above
                        monitor.broken(site, error)
                if last_error is not None:
                    last_error.restore(code)
            if leak is not None:
                raise leak
            return result

        _TRACED[traced.__code__] = lambda local: (
            local["marks"] if local.get("fate") is Fate.UNKNOWN else ()
        )
        return traced

    # --- the call -----------------------------------------------------------------------------

    def compile(self, native: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function that replaces `native`."""
        monitor, site, last_error = self.monitor, self.site, self.last_error
        before, after, outcome = self.before, self.after, self.outcome
        row = self

        def traced(*args: Any, **kwargs: Any) -> Any:
            if not monitor.active:
                return native(*args, **kwargs)
            monitor.called = True
            frame = _caller()
            code = 0 if last_error is None else last_error.save()
            begun: list[Settlement] = []
            excluded: list[_Acquisition] = []
            plain = _NOT_MADE
            result: Any = None
            try:
                try:
                    before(args, kwargs, frame, begun, excluded)
                except DELIBERATE:
                    raise
                except RecursionError:
                    pass  # no room for a complaint; the call is what matters
                except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
                    monitor.broken(site, error)
                if last_error is not None:
                    last_error.restore(code)
                plain = _UNKNOWN
                result = plain = native(*args, **kwargs)
            except BaseException as error:
                if last_error is not None:
                    code = last_error.save()
                # The program's own errcheck may have raised after a call that succeeded.
                raw = None if outcome is None else outcome(False)
                if raw is not None:
                    plain = raw.result
                elif plain is _UNKNOWN:
                    plain = row.failure(error)
                after(args, kwargs, plain, frame, begun, excluded)
                if last_error is not None:
                    last_error.restore(code)
                raise
            if last_error is not None:
                code = last_error.save()
            raw = None if outcome is None else outcome(True)
            plain = result if raw is None else raw.result
            result = after(args, kwargs, plain, frame, begun, excluded, result)
            if last_error is not None:
                last_error.restore(code)
            return result

        _TRACED[traced.__code__] = _of_general
        return traced

    def failure(self, error: BaseException) -> Any:
        """Return what an exception says of the native call.

        It was never made if the binding could not pass the arguments on. A Python API raises an
        error of its own when the call has failed. Anything else came from outside.
        """
        if _refuses_arguments(error):
            return _NOT_MADE
        own = not isinstance(self.handles, Numbers) and isinstance(error, Exception)
        return _FAILED if own else _UNKNOWN

    def before(
        self,
        args: Arguments,
        kwargs: Keywords,
        frame: FrameType | None,
        begun: list[Settlement],
        excluded: list[_Acquisition],
    ) -> None:
        """Check every handle and mark the releases.

        `begun` gets what settles them, `excluded` the acquisitions that will not be any.
        """
        monitor, site = self.monitor, self.site
        if self.idle_without_way and any(
            (way := get(value)) is not None and way.alert for get, value in self.goes_through
        ):
            excluded += self.acquisitions
            return
        excluded += [
            row
            for row in self.acquisitions
            if row.first is not None and not row.first(args, kwargs)
        ]
        for read, find, when in self.uses:
            handle = find(read(args, kwargs))
            if handle is None and self.guards:
                _check(self.guards, monitor, site, frame)
            if handle is not None and (when is None or when(args, kwargs)):
                if handle.alert:
                    monitor.misused(handle, site, frame)
                handle.uses += 1
                if monitor.touches:
                    monitor.touched(handle, site, frame)
        if self.goes_through and not self.releases:
            _check(self.goes_through, monitor, site, frame)
        for release in self.releases:
            if release.when is not None and not release.when(args, kwargs):
                # Not released this time: an ordinary use, checked by the row's uses().
                continue
            argument = release.read(args, kwargs)
            handle = release.find(argument)
            if release.again and (handle is None or handle.alert):
                continue
            if handle is None and self.guards:
                _check(self.guards, monitor, site, frame)
            elif self.goes_through and handle is not None and not handle.alert:
                _check(self.goes_through, monitor, site, frame)
            value = handle.value if handle else self.handles.value(release.kind, argument)
            if value is None:
                continue
            anyway = release.even_on_failure
            gone = anyway is not None and anyway(args, kwargs)
            marks: list[Handle] = []
            begun.append(_settlement(release.settle, marks, frame, gone))
            release.begin(value, handle, frame, marks)
        for sweep in self.sweeps:
            if sweep.when is not None and not sweep.when(args, kwargs):
                continue
            parent = None if sweep.under is None else sweep.under(args, kwargs)
            if parent is None and sweep.under is not None:
                continue
            swept = monitor.begin_sweep(
                sweep.kind, parent, site, frame, below=sweep.below, asking=sweep.asking
            )
            begun.append(
                lambda fate, _plain, swept=swept: monitor.settle_sweep(  # type: ignore[misc]
                    swept, site, frame, released=fate is Fate.RELEASED
                )
            )
        for end, number, when in self.ends:
            value = number(args, kwargs)
            operation = None if value is None else monitor.table(end.kind).get(value)
            if operation is not None and operation.state == LIVE:
                whole = end.on_success and (when is None or when(args, kwargs))
                begun.append(
                    functools.partial(self._completion, end, operation, whole=whole, frame=frame)
                )

    def _completion(
        self,
        end: Ends,
        operation: Handle,
        fate: Fate,
        plain: Any,
        *,
        whole: bool,
        frame: FrameType | None,
    ) -> None:
        """Note that an operation is complete, if the result of the call says so."""
        if fate is Fate.RELEASED:
            done = whole
        else:
            done = fate is Fate.REFUSED and end.on_failure and plain not in end.survives
        if done:
            self.monitor.completed(operation, self.site, frame)

    def after(
        self,
        args: Arguments,
        kwargs: Keywords,
        plain: Any,
        frame: FrameType | None,
        begun: list[Settlement],
        excluded: list[_Acquisition],
        result: Any = None,
    ) -> Any:
        """Settle what was begun and apply what a successful call does; return the result."""
        monitor, site = self.monitor, self.site
        leak: HandleLeak | None = None
        succeeded = False
        try:
            succeeded = not isinstance(plain, _Sign) and self.succeeded(plain)
        except Exception as error:  # noqa: BLE001 - the program's own result type broke
            monitor.broken(site, error)
        try:
            fate = Fate.RELEASED if succeeded else _fate_of(plain)
            for settle in begun:
                leak = settle(fate, plain) or leak
            if succeeded:
                if self.expose is not None:
                    for read, traced in self.exposes:
                        self.expose(read(args, kwargs), traced)
                for kind, read in self.refs:
                    value = self.handles.value(kind, read(args, kwargs))
                    if value is not None:
                        monitor.ref_added(monitor.borrowed(kind, value), site, frame)
                for kind, read, when in self.hand_overs:
                    value = self.handles.value(kind, read(args, kwargs))
                    if value is not None and when(args, kwargs):
                        monitor.handed_over(monitor.borrowed(kind, value), site, frame)
                for row in self.acquisitions:
                    if row in excluded or (row.when is not None and not row.when(args, kwargs)):
                        continue
                    if self.signature.many:
                        result = self._enter_many(row, args, kwargs, plain, frame)
                        continue
                    value = row.out(args, kwargs, plain)
                    if value is None:
                        continue
                    if row.shared:
                        known = monitor.table(row.kind).get(value)
                        if known is not None and known.state == LIVE:
                            continue
                    handle = row.enter(
                        value,
                        None if row.parent is None else row.parent(args, kwargs),
                        () if row.needs is None else row.needs(args, kwargs),
                        "" if row.name is None else row.name(args, kwargs),
                        frame,
                    )
                    result = self.handles.adopt(result, handle, args)
                for find in self.finds:
                    if find.when is not None and not find.when(args, kwargs):
                        continue
                    values = find.values(args, kwargs, plain)
                    if not values:
                        continue
                    beside = None if find.beside is None else find.beside(args, kwargs)
                    for handle in monitor.found(find.kind, values, beside, site, frame):
                        result = self.handles.adopt(result, handle, args)
        except DELIBERATE:
            raise
        except RecursionError:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            monitor.broken(site, error)
        if leak is not None:
            raise leak
        return result

    def _enter_many(
        self,
        row: _Acquisition,
        args: Arguments,
        kwargs: Keywords,
        results: Any,
        frame: FrameType | None,
    ) -> Any:
        """Enter each of several results of a call, and return them as the program gets them."""
        parent = None if row.parent is None else row.parent(args, kwargs)
        adopted = []
        for item in results:
            value = row.out(args, kwargs, item)
            if value is not None:
                item = self.handles.adopt(item, row.enter(value, parent, (), "", frame), args)  # noqa: PLW2901
            adopted.append(item)
        return type(results)(adopted)


class _Sign:
    """Stands for the result of a call that has none."""


_FAILED: Any = _Sign()
_NOT_MADE: Any = _Sign()
_UNKNOWN: Any = _Sign()


def _fate_of(plain: Any) -> Fate:
    """Return what is known of the releases of a call that has not succeeded."""
    if plain is _NOT_MADE:
        return Fate.NOT_MADE
    return Fate.UNKNOWN if plain is _UNKNOWN else Fate.REFUSED


def _refuses_arguments(error: BaseException) -> bool:
    """Return whether an exception says that a binding could not pass the arguments on.

    `ctypes.ArgumentError` is known by name: this module does not import ctypes.
    """
    return isinstance(error, TypeError | OverflowError) or type(error).__name__ == "ArgumentError"


def _settlement(
    settle: Settle, marks: list[Handle], frame: FrameType | None, anyway: bool
) -> Settlement:
    """Return a function that settles one release, if it was marked."""

    def settled(fate: Fate, _plain: Any) -> HandleLeak | None:
        if not marks:
            return None
        if fate is Fate.REFUSED and anyway:
            fate = Fate.RELEASED
        return settle(marks[0], frame, fate)

    return settled


_SUCCESS: dict[Success, Callable[[Any], bool]] = {
    Success.NONZERO: bool,
    Success.ZERO: lambda result: result == 0,
    Success.NO_EXCEPTION: lambda _result: True,
}
