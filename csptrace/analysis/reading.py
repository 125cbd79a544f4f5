"""Finding logs, and reading what an engine cannot: what is torn, foreign or damaged in them.

Every file ends up in a `Source`, whatever is in it. A line that is no event is either *torn* (the
beginning of a line whose end was never written: it starts like a JSON object, or is nothing but
NUL bytes) or *foreign* (anything else). Empty lines count for nothing.
"""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
import re
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from csptrace.analysis import cache_folder, contract
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.events.schema import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "SUFFIXES",
    "Log",
    "Strays",
    "ends_torn",
    "families",
    "find",
    "inspect",
    "is_among",
    "is_cut_off",
    "is_log",
    "parse",
    "salvage",
    "sample",
    "split",
    "unreadable",
    "walk",
]

SUFFIXES: Final = (
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.zst",
    ".ndjson",
    ".ndjson.gz",
    ".ndjson.zst",
    ".parquet",
)
"""What a folder is searched for. A file that is named itself is read whatever its name."""

_PIECE: Final = re.compile(r"^(?P<stem>.*?)(?P<piece>\.\d+)?\.(?:jsonl|ndjson)(?:\.gz|\.zst)?$")
_CHUNK: Final = 1 << 20
_FEED: Final = 16 << 10
"""What is given to a decompressor at once: what it has not used, it copies."""
_WINDOW: Final = 8 << 20
"""What RFC 8878 (3.1.1.1.2) asks of every decompressor, and what `zstd -19` needs."""
_PROBES: Final = 32
_PROBE: Final = 8 << 10
_CUT: Final = "the compressed stream is cut off"
_QUICK: Final = b'"event":"csptrace.'
_BEGINNING: Final = 100
"""How much of a line that is too long is kept, to say whether it is torn or foreign."""


class Log(NamedTuple):
    """One file to be read.

    Attributes:
        path: as it was given or found.
        size: in bytes.
        mtime: when it was changed, nanoseconds.
        form: `json`, `gz`, `zst` or `parquet`, by the first bytes.
        error: why it cannot be read at all; empty if it can.
    """

    path: str
    size: int
    mtime: int
    form: str
    error: str


class Strays(NamedTuple):
    """What in a file is no event.

    Attributes:
        torn: lines whose end was never written.
        foreign: other lines.
        damage: why the file could not be read to its end; empty if it could.
    """

    torn: int
    foreign: int
    damage: str


def find(names: Sequence[str]) -> list[Log]:
    """Return the logs that files, folders and patterns name, sorted by path.

    Args:
        names: files, folders (searched with everything below them) and patterns (`logs/*.jsonl`,
            `**` for any depth).

    Returns:
        The logs, each once.

    Raises:
        AnalysisError: a name that names nothing, or a folder without a log.
    """
    return [_log(path) for path in sorted(_paths(names).values())]


def is_among(path: str, names: Sequence[str]) -> bool:
    """Return whether a file is one of those that would be read.

    Args:
        path: the file.
        names: files, folders and patterns, as for `find`.

    Raises:
        AnalysisError: a name that names nothing, or a folder without a log.
    """
    return os.path.realpath(path) in _paths(names)


def lies_within(path: str, names: Sequence[str]) -> bool:
    """Return whether a file is in what was named, and not merely what a link in there leads to.

    A name that is a link itself stands for what it leads to: somebody has named it.

    Args:
        path: the file.
        names: files, folders and patterns, as for `find`.
    """
    place = PurePath(os.path.realpath(path))
    return any(place.is_relative_to(os.path.realpath(_fixed(name))) for name in names)


def _fixed(name: str) -> str:
    """Return the folder in which a pattern searches; of what is no pattern, the name."""
    if not os.path.lexists(name):
        while glob.has_magic(name):
            name = os.path.dirname(name)
    return name


def _paths(names: Sequence[str]) -> dict[str, str]:
    """Return real path → path as it was found."""
    found: dict[str, str] = {}
    for name in names:
        if "\0" in name:
            raise AnalysisError(f"no such file or folder: {name!r}")
        matches = [name]
        if not os.path.lexists(name) and glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True))
        if not matches or not os.path.lexists(matches[0]):
            raise AnalysisError(f"no such file or folder: {name}")
        for match in matches:
            if match != name and _is_cached(match):
                continue
            if os.path.isdir(match):
                inside = list(walk(match))
                if inside == [match] == [name]:
                    raise AnalysisError(f"cannot read {name}: {_log(name).error}")
                if not inside and match == name:
                    raise AnalysisError(
                        f"no logs in {name}: none of its files ends in {', '.join(SUFFIXES)}; "
                        "a traced process writes one with CSPTRACE_LOG=<folder>"
                    )
            else:
                inside = [match]
            for path in inside:
                found.setdefault(os.path.realpath(path), path)
        if matches != [name]:
            for path in _closed(name):
                found.setdefault(os.path.realpath(path), path)
    return found


def walk(folder: str) -> Iterator[str]:
    """Search a folder and all below it, also what symbolic links lead to.

    A folder with several names is searched once, under the name without a link if there is one.
    A cache of csptrace is passed over: what is in it looks like a log.

    Args:
        folder: the folder.

    Yields:
        The files whose names end like those of logs, and the folders that cannot be read.
    """
    waiting = [folder]
    seen = set()
    closed: dict[str, None] = {}
    for top in waiting:  # gets longer meanwhile
        note = functools.partial(_note, closed, top)
        for parent, folders, files in os.walk(top, onerror=note):
            place = _identity(parent)
            if place in seen or cache_folder.is_cache(parent):
                folders.clear()
                continue
            seen.add(place)
            folders.sort()
            waiting += filter(_is_link, (os.path.join(parent, name) for name in folders))
            for file in files:
                path = os.path.join(parent, file)
                # A name with a leading dot is something half-written.
                if (file.endswith(SUFFIXES) and not file.startswith(".")) or _is_barred(path):
                    yield path
    yield from closed


def _note(closed: dict[str, None], top: str, error: OSError) -> None:
    """Note the folder that could not be read, or where the search for it began."""
    closed[os.fsdecode(error.filename) if error.filename is not None else top] = None


def _identity(folder: str) -> object:
    try:
        about = os.stat(folder)
    except OSError:  # it has gone meanwhile
        return folder
    return about.st_dev, about.st_ino


def _is_link(path: str) -> bool:
    if sys.version_info >= (3, 12) and os.path.isjunction(path):
        return True
    return os.path.islink(path)


def _is_barred(path: str) -> bool:
    """Return whether there is a link that may lead to a folder, which cannot be found out."""
    if os.path.islink(path):
        try:
            os.stat(path)
        except PermissionError:
            return True
        except OSError:
            return False
    return False


def _closed(pattern: str) -> Iterator[str]:
    """Yield the folders that a pattern goes through and that cannot be read."""
    above = os.path.dirname(pattern)
    while glob.has_magic(pattern):
        for folder in glob.glob(above, recursive=True):
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
                yield folder
        pattern, above = above, os.path.dirname(above)


def _is_cached(path: str) -> bool:
    """Return whether something is in a cache of csptrace."""
    return any(map(cache_folder.is_cache, itertools.islice(map(str, PurePath(path).parents), 3)))


def is_log(path: str) -> bool:
    """Return whether there is a file which looks like an event log, so that nothing may replace it.

    Args:
        path: the file.

    Returns:
        Whether it has the name of one, is compressed or Parquet, or has an event in it as csptrace
        writes them.
    """
    name = os.path.basename(path)
    if name.endswith(SUFFIXES) or _log(path).form != "json":
        return True
    with suppress(OSError), open(path, "rb") as file:
        rest = b""
        while chunk := file.read(_CHUNK):
            if _QUICK in rest + chunk:
                return True
            rest = chunk[-len(_QUICK) :]
    return False


def _log(path: str) -> Log:
    try:
        path.encode()
    except UnicodeEncodeError:
        return Log(path, 0, 0, "json", "its name is not UTF-8, which no engine can open")
    try:
        about = os.stat(path)
        if stat.S_ISDIR(about.st_mode):
            os.scandir(path).close()
            return Log(path, 0, 0, "json", "a folder that could not be read")
        if not stat.S_ISREG(about.st_mode):
            return Log(path, 0, 0, "json", "not a file")
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        return Log(path, 0, 0, "json", error.strerror or str(error))
    form = "json"
    if start[:2] == b"\x1f\x8b":
        form = "gz"
    elif start == b"\x28\xb5\x2f\xfd":
        form = "zst"
    elif start == b"PAR1":
        form = "parquet"
    return Log(path, about.st_size, about.st_mtime_ns, form, "")


def families(logs: Iterable[Log]) -> list[tuple[Log, ...]]:
    """Put together the pieces of each log that was rotated: `x.jsonl`, `x.1.jsonl`, `x.2.jsonl`.

    Args:
        logs: the files.

    Returns:
        The files that belong together, in the order of the first of each.
    """
    found: dict[tuple[str, str], list[Log]] = {}
    for log in logs:
        folder, name = os.path.split(log.path)
        match = _PIECE.match(name)
        stem = match["stem"] if match is not None and name.startswith("csptrace-") else name
        found.setdefault((folder, stem), []).append(log)
    return [tuple(family) for family in found.values()]


def sample(log: Log) -> Iterator[bytes]:
    """Yield pieces from all over a log, up to 256 KiB in all; of a compressed one, its beginning.

    Args:
        log: a file that is not Parquet.

    Yields:
        Bytes of it, decompressed; none if it cannot be read.
    """
    if log.form != "json":
        for chunk in itertools.islice(_chunks(log, []), 1):
            yield chunk[: _PROBES * _PROBE]
        return
    with suppress(OSError), open(log.path, "rb") as file:
        for probe in range(_PROBES):
            file.seek(max(probe * _PROBE, log.size * probe // _PROBES))
            piece = file.read(_PROBE)
            if not piece:
                return
            yield piece


def is_cut_off(log: Log) -> bool:
    """Return whether a zstd file ends before its last block, which readers do not notice.

    Args:
        log: any file; others than zstd are never cut off in this sense.

    Returns:
        Whether it is.
    """
    try:
        return log.form == "zst" and not _frames(log.path).ended
    except OSError:
        return True


def unreadable(log: Log) -> str:
    """Return why a log must not be given to an engine, which would need too much memory for it.

    Args:
        log: any file.

    Returns:
        The reason, empty if there is none.
    """
    try:
        window = _frames(log.path).window if log.form == "zst" else 0
    except OSError:
        return ""  # whoever reads it will say so
    return "" if window <= _WINDOW else _too_wide(window)


def _too_wide(window: int) -> str:
    return (
        f"decompressing it takes a window of {window >> 20} MiB, allowed are {_WINDOW >> 20}; "
        "compress it again with zstd -19 or less, without --long"
    )


def ends_torn(log: Log) -> bool:
    """Return whether the last line of a log is torn: what a killed process was just writing.

    Args:
        log: any file; compressed ones are never torn in this sense.
    """
    if log.form != "json":
        return False
    with suppress(OSError), open(log.path, "rb") as file:
        file.seek(max(0, log.size - LONGEST_LINE))
        last = file.read(LONGEST_LINE).rpartition(b"\n")[2]
        return bool(last) and _sort(last, parse_all=True)[0] == "torn"
    return False


def inspect(log: Log, strays: int) -> Strays:
    """Count what in a log is no event.

    Args:
        log: a file that is not Parquet.
        strays: how many lines an engine has read as nothing. If so many do not even look like
            events, the others are not parsed a second time.

    Returns:
        What was found.
    """
    found = _read(log)
    if found.torn + found.foreign == strays:
        return found
    return _read(log, parse_all=True)


def salvage(log: Log, target: IO[bytes]) -> Strays:
    """Copy the events of a log that an engine cannot read, and count the rest.

    Args:
        log: a file that is not Parquet.
        target: gets the lines that are events.

    Returns:
        What was left out.
    """
    return _read(log, target, parse_all=True)


def _read(log: Log, target: IO[bytes] | None = None, *, parse_all: bool = False) -> Strays:
    damage: list[str] = []
    counts = {"torn": 0, "foreign": 0, "event": 0, "": 0}
    for line in split(_chunks(log, damage)):
        sort, event = _sort(line, parse_all=parse_all)
        counts[sort] += 1
        if event is not None and target is not None:
            # As it was understood: an engine may take another of two fields of one name.
            target.write(orjson.dumps(event) + b"\n")
    return Strays(counts["torn"], counts["foreign"], damage[0] if damage else "")


def split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream without their ends, the last one even if it has none.

    Args:
        chunks: pieces of it.

    Yields:
        The lines; of one longer than `LONGEST_LINE`, only the beginning.
    """
    rest = b""
    skipping = False
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not skipping:
                yield line if len(line) <= LONGEST_LINE else line[:_BEGINNING]
            skipping = False
        if skipping:
            rest = b""
        elif len(rest) > LONGEST_LINE:
            yield rest[:_BEGINNING]
            skipping, rest = True, b""
    if rest and not skipping:
        yield rest


def _chunks(log: Log, damage: list[str]) -> Iterator[bytes]:
    """Yield the decompressed bytes of a log as far as they can be read, a bounded piece at once."""
    try:
        with open(log.path, "rb") as file:
            if log.form == "gz":
                yield from _gathered(_inflate(file, damage))
            elif log.form == "zst":
                yield from _decompress(file, damage)
                if not damage and not _frames(log.path).ended:
                    damage.append(_CUT)
            else:
                while chunk := file.read(_CHUNK):
                    yield chunk
    except OSError as error:
        damage.append(error.strerror or str(error))


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Put small pieces together: a file may consist of thousands of members of a few bytes."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _inflate(file: IO[bytes], damage: list[str]) -> Iterator[bytes]:
    """Decompress the members of a gzip file; what cannot be is named in `damage`."""
    member = zlib.decompressobj(31)
    fed = False
    while chunk := file.read(_FEED):
        while chunk:
            try:
                piece = member.decompress(chunk, _CHUNK)
            except zlib.error as error:
                damage.append(f"the compressed stream is damaged: {error}")
                return
            if piece:
                yield piece
            fed = True
            chunk = member.unconsumed_tail
            if member.eof:
                chunk = member.unused_data.lstrip(b"\0")
                member, fed = zlib.decompressobj(31), False
        # What is left in the decompressor has not been asked for yet.
        while fed and (piece := member.decompress(b"", _CHUNK)):
            yield piece
        if member.eof:
            member, fed = zlib.decompressobj(31), False
    if fed:
        damage.append(_CUT)


def _decompress(file: IO[bytes], damage: list[str]) -> Iterator[bytes]:
    """Decompress the frames of a zstd file; what cannot be is named in `damage`."""
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "reading a damaged .zst log needs zstandard: pip install 'csptrace[report]'"
        ) from error
    window = _frames(file.name).window
    if window > _WINDOW:
        damage.append(_too_wide(window))
        return
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    stream = decompressor.stream_reader(file, read_size=_FEED, read_across_frames=True)
    try:
        while chunk := stream.read(_CHUNK):
            yield chunk
    except (zstandard.ZstdError, MemoryError) as error:
        damage.append(f"the compressed stream is damaged: {error}")


def _sort(line: bytes, *, parse_all: bool = False) -> tuple[str, dict[str, Any] | None]:
    """Return whether a line is an `event`, `torn`, `foreign` or, if there is nothing in it, ``.

    The event comes with it if it had to be parsed.
    """
    if not parse_all and line.startswith(b"{") and line.endswith(b"}") and _QUICK in line:
        return "event", None
    text = line.strip(b"\0 \t\r\n")
    if not text:
        return ("torn" if b"\0" in line else ""), None
    try:
        # NUL bytes at an end are what a lost machine leaves; engines take no such line.
        event = contract.event_of(parse(line.strip(b" \t\r\n")))
    except ValueError:
        return ("torn" if text.startswith(b'{"') else "foreign"), None
    return ("foreign" if event is None else "event"), event


_TOKEN: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]|,\s*(?=[\]}])|-?\b(?:nan|inf(?:inity)?)\b',
    re.IGNORECASE | re.DOTALL,
)
_DEEP: Final = 64
_NOTHING: Final = b"[0.5]"
"""Fits no field: neither a number, nor a text, nor a list of numbers or frames."""


def parse(line: bytes) -> Any:
    """Parse a line as DuckDB does, which takes a bit more than JSON allows.

    That is: NaN and infinity, a comma behind the last member, nesting of any depth, a byte order
    mark. Of two members of one name the first counts.

    Args:
        line: a line without its end.

    Returns:
        What it says. A list in place of what is nested too deeply to matter, and of what is no
        number.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parse_closely(line)
    if isinstance(value, dict) and line.count(b'":') != len(value):
        # Most likely because there is an object in it; but a name may be there twice.
        return _parse_closely(line)
    return value


def _parse_closely(line: bytes) -> Any:
    value = json.loads(
        _as_json(line).decode(),
        object_pairs_hook=lambda pairs: dict(reversed(pairs)),
        parse_int=_int,
    )
    try:
        orjson.dumps(value)
    except TypeError as error:  # half a surrogate pair
        raise ValueError("not UTF-8") from error
    return value


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def _as_json(line: bytes) -> bytes:
    """Return a line without what is not JSON, or nested deeply, but taken by DuckDB."""
    parts: list[bytes] = []
    depth = done = 0
    for match in _TOKEN.finditer(line):
        token = match[0]
        outside = depth < _DEEP
        if token in b"[{":
            depth += 1
            if depth == _DEEP:
                parts += (line[done : match.start()], _NOTHING)
        elif token in b"]}":
            depth -= 1
            if depth == _DEEP - 1:
                done = match.end()
        elif outside and not token.startswith(b'"'):
            parts += (line[done : match.start()], b"" if token.startswith(b",") else _NOTHING)
            done = match.end()
    if depth:
        raise ValueError("it does not end")
    return b"".join((*parts, line[done:])).removeprefix(b"\xef\xbb\xbf").strip(b"\v\f \t\r")


class _Frames(NamedTuple):
    """What the headers of a zstd file say: whether the last block is there, the widest window."""

    ended: bool
    window: int


def _frames(path: str) -> _Frames:
    """Read the headers of the frames and blocks of a zstd file (RFC 8878, 3.1.1)."""
    size = os.path.getsize(path)
    widest = 0
    with open(path, "rb") as file:
        while (start := file.tell()) < size:
            magic = int.from_bytes(file.read(4), "little")
            if 0x184D2A50 <= magic <= 0x184D2A5F:  # a skippable frame
                file.seek(int.from_bytes(file.read(4), "little"), os.SEEK_CUR)
                continue
            if magic != 0xFD2FB528:
                return _Frames(start > 0, widest)  # something behind the last frame
            descriptor = (file.read(1) or b"\0")[0]
            single = descriptor >> 5 & 1
            if not single:
                exponent, mantissa = divmod((file.read(1) or b"\0")[0], 8)
                widest = max(widest, (8 + mantissa) << (exponent + 7))
            file.seek((0, 1, 2, 4)[descriptor & 3], os.SEEK_CUR)
            length = (single, 2, 4, 8)[descriptor >> 6]
            content = int.from_bytes(file.read(length), "little") + (256 if length == 2 else 0)
            if single:
                widest = max(widest, content)
            while True:
                header = file.read(3)
                if len(header) < 3:
                    return _Frames(False, widest)
                block = int.from_bytes(header, "little")
                file.seek(1 if block >> 1 & 3 == 1 else block >> 3, os.SEEK_CUR)
                if block & 1:
                    break
            file.seek(4 if descriptor >> 2 & 1 else 0, os.SEEK_CUR)
        return _Frames(file.tell() == size, widest)
