"""Small programs, each of which says on its standard output everything that it sees.

What a program says must not depend on the tracer: no values of handles, no addresses, no times. In
mode `raise` a line that begins with `misuse` may say that the misuse was refused.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PROV_RSA_AES: Final = 24
CRYPT_VERIFYCONTEXT: Final = 0xF0000000
CALG_SHA1: Final = 0x8004
CALG_AES_256: Final = 0x6610
PIN: Final = "48151623"


class Program(NamedTuple):
    """A program.

    Attributes:
        run: its text; is given the path of a PKCS#11 module, where it needs one.
        needs: modules without which it cannot run; `softhsm` stands for SoftHSM.
        misuses: whether it makes mistakes that are raised in mode `raise`.
        warm: what it has imported before tracing begins.
        whole: whether the end of the interpreter belongs to it.
    """

    run: Callable[[str], None]
    needs: tuple[str, ...] = ()
    misuses: bool = False
    warm: tuple[str, ...] = ()
    whole: bool = False


def say(*words: object) -> None:
    """Say something that is compared between runs."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def outcome(what: str, function: Callable[..., Any], *arguments: Any) -> None:
    """Say what a call returned or raised."""
    try:
        say(what, function(*arguments))
    except Exception as error:  # noqa: BLE001 - said
        say(what, type(error).__name__)


# --- CryptoAPI ----------------------------------------------------------------------------------


def _acquire(library: Any) -> Any:
    import ctypes

    context = ctypes.c_size_t()
    say(
        "acquire",
        library.CryptAcquireContextW(
            ctypes.byref(context), None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT
        ),
    )
    return context


def _hash(library: Any, context: Any) -> Any:
    import ctypes

    digest = ctypes.c_size_t()
    say("hash", library.CryptCreateHash(context, CALG_SHA1, None, 0, ctypes.byref(digest)))
    return digest


def clean_ctypes(_module: str) -> None:
    """Acquire, use and release, and be refused once."""
    import ctypes

    from csptrace.softcsp import advapi32

    context = _acquire(advapi32)
    digest = _hash(advapi32, context)
    data = b"data"
    say("data", advapi32.CryptHashData(digest, data, len(data), 0))
    key = ctypes.c_size_t()
    say("refused", advapi32.CryptGenKey(context, 0x7777, 0, ctypes.byref(key)))
    say("last error", hex(advapi32.GetLastError() & 0xFFFFFFFF))
    say("destroy", advapi32.CryptDestroyHash(digest))
    say("release", advapi32.CryptReleaseContext(context, 0))
    outcome("unknown", lambda: advapi32.CryptNoSuchFunction)
    outcome("arguments", advapi32.CryptDestroyHash, object())
    say("same", advapi32.CryptGenKey is advapi32.CryptGenKey, advapi32["CryptGenKey"] is not None)


def leaking_ctypes(_module: str) -> None:
    """Leak a hash at the release of its context, and a context at exit."""
    from csptrace.softcsp import advapi32

    def work() -> None:
        context = _acquire(advapi32)
        _hash(advapi32, context)
        say("release", advapi32.CryptReleaseContext(context, 0))
        say("again", bool(_acquire(advapi32).value))

    work()


def misusing_ctypes(_module: str) -> None:
    """Release twice, and use what is gone."""
    from csptrace.softcsp import advapi32

    context = _acquire(advapi32)
    digest = _hash(advapi32, context)
    say("destroy", advapi32.CryptDestroyHash(digest))
    outcome("misuse again", advapi32.CryptDestroyHash, digest)
    outcome("misuse data", advapi32.CryptHashData, digest, b"data", 4, 0)
    other = _hash(advapi32, context)
    say("release", advapi32.CryptReleaseContext(context, 0))
    outcome("misuse late", advapi32.CryptDestroyHash, other)


def recycling_ctypes(_module: str) -> None:
    """Get the same value again and again, which is no misuse, through names that are new."""
    import ctypes

    from csptrace.softcsp import advapi32

    context = _acquire(advapi32)
    values = set()
    for turn in range(3):
        digest = _hash(advapi32, context)
        values.add(digest.value)
        say(turn, advapi32.CryptHashData(digest, b"data", 4, 0))
        copy = ctypes.c_size_t()
        say("copy", advapi32.CryptDuplicateHash(digest, None, 0, ctypes.byref(copy)))
        say("destroy", advapi32.CryptDestroyHash(copy), advapi32["CryptDestroyHash"](digest))
    say("values", len(values))
    say("release", advapi32.CryptReleaseContext(context, 0))


def objects(_module: str) -> None:
    """Use the handle objects of win32crypt, and leave some to the collector."""
    from csptrace import softcsp

    softcsp.install()
    import win32crypt
    import win32cryptcon

    context = win32crypt.CryptAcquireContext(
        None, None, PROV_RSA_AES, win32cryptcon.CRYPT_VERIFYCONTEXT
    )
    digest = context.CryptCreateHash(CALG_SHA1)
    digest.CryptHashData(b"data")
    say("digest", digest.CryptGetHashParam(2).hex())
    say("type", type(digest).__name__, isinstance(digest, type(digest)), bool(digest))
    outcome("refused", context.CryptGenKey, 0x7777, 0)
    digest.CryptDestroyHash()
    del digest
    say("left", bool(context.CryptCreateHash(CALG_SHA1)))
    gc.collect()
    outcome("missing", getattr, context, "NoSuchName")
    context.CryptReleaseContext()
    del context
    gc.collect()


def forking(_module: str) -> None:
    """Fork with live handles, and let both processes go on."""
    from csptrace.softcsp import advapi32

    context = _acquire(advapi32)
    child = os.fork()
    if not child:
        digest = _hash(advapi32, _acquire(advapi32))
        say("destroy", advapi32.CryptDestroyHash(digest))
        raise SystemExit(3)
    say("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    say("release", advapi32.CryptReleaseContext(context, 0))


def threading_(_module: str) -> None:
    """Work in two threads, one after the other."""
    from csptrace.softcsp import advapi32

    def work() -> None:
        context = _acquire(advapi32)
        _hash(advapi32, context)
        say("release", advapi32.CryptReleaseContext(context, 0))

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def tasks(_module: str) -> None:
    """Work in tasks of asyncio."""
    import asyncio

    from csptrace.softcsp import advapi32

    async def work() -> None:
        context = _acquire(advapi32)
        await asyncio.sleep(0)
        say("release", advapi32.CryptReleaseContext(context, 0))

    async def main() -> None:
        await asyncio.gather(work(), work())

    asyncio.run(main())


def raising(_module: str) -> None:
    """End with an exception while handles are alive."""
    from csptrace.softcsp import advapi32

    _hash(advapi32, _acquire(advapi32))
    raise LookupError("the program's own")


def multiprocessing_(_module: str) -> None:
    """Start a worker process."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    worker = context.Process(target=leaking_ctypes, args=("",))
    worker.start()
    worker.join()
    say("worker", worker.exitcode)


def scopes(_module: str) -> None:
    """Judge a stretch of the program, where it is traced."""
    import csptrace
    from csptrace.softcsp import advapi32

    tracer = csptrace.current()
    if tracer is None:
        _acquire(advapi32)
        say("went on")
        return
    with csptrace.tracing(), tracer.scope("stretch"):
        _acquire(advapi32)
    tracer.check()
    tracer.snapshot().diff()
    csptrace.stop()
    say("went on")


# --- cffi ---------------------------------------------------------------------------------------


def cffi_abi(_module: str) -> None:
    """Reach a compiled provider through cffi."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(
        """
        int CryptAcquireContextA(uintptr_t *, char *, char *, uint32_t, uint32_t);
        int CryptCreateHash(uintptr_t, uint32_t, uintptr_t, uint32_t, uintptr_t *);
        int CryptDestroyHash(uintptr_t);
        int CryptReleaseContext(uintptr_t, uint32_t);
        """
    )
    library = ffi.dlopen(os.environ["FAKECSP"])
    context, digest = ffi.new("uintptr_t *"), ffi.new("uintptr_t *")
    null = ffi.NULL
    say(
        library.CryptAcquireContextA(context, null, null, PROV_RSA_AES, CRYPT_VERIFYCONTEXT),
        library.CryptCreateHash(context[0], CALG_SHA1, 0, 0, digest),
        library.CryptDestroyHash(digest[0]),
        library.CryptCreateHash(context[0], CALG_SHA1, 0, 0, digest),
        library.CryptReleaseContext(context[0], 0),
    )
    outcome("missing", lambda: library.CryptNoSuchFunction)
    say("names", sorted(set(dir(library))))


# --- PKCS#11 ------------------------------------------------------------------------------------


def _pkcs11(binding: str) -> Callable[[str], None]:
    def run(module: str) -> None:
        sys.path.append(str(Path(__file__).parents[1] / "conformance"))
        clients = importlib.import_module("pkcs11_clients")
        client = clients.BINDINGS[binding][1]()
        client.load(module)
        session = client.open(PIN)
        key = client.gen_key(session)
        say("encrypt", len(client.encrypt(session, key)))
        outcome("search", client.search, session)
        client.destroy(session, key)
        client.gen_key(session)
        say("gone", type(client.close(session)).__name__)
        client.open()
        say("end")

    run.__doc__ = f"Open a session, make a key, use it, leak another, through {binding}."
    return run


_SOFT: Final = ("cryptography",)
WARM: Final = (
    "cryptography.hazmat.primitives.hashes",
    "csptrace.softcsp.provider",
    "csptrace.softcsp.objects",
    "csptrace.softcsp.contexts",
)
"""What takes time to import, and nothing of it is traced."""

PROGRAMS: Final[dict[str, Program]] = {
    "clean": Program(clean_ctypes, _SOFT),
    "adopted": Program(clean_ctypes, _SOFT, warm=("csptrace.softcsp.library",)),
    "leaking": Program(leaking_ctypes, _SOFT, whole=True),
    "misusing": Program(misusing_ctypes, _SOFT, misuses=True),
    "recycling": Program(recycling_ctypes, _SOFT),
    "objects": Program(objects, _SOFT, whole=True),
    "forking": Program(forking, _SOFT),
    "threads": Program(threading_, _SOFT),
    "tasks": Program(tasks, _SOFT),
    "raising": Program(raising, _SOFT, whole=True),
    "multiprocessing": Program(multiprocessing_, _SOFT, warm=("multiprocessing.util",)),
    "scopes": Program(scopes, _SOFT),
    "cffi": Program(cffi_abi, ("cffi", "fakecsp")),
    "pkcs11 exports": Program(_pkcs11("ctypes exports"), ("softhsm",)),
    "pkcs11 function list": Program(_pkcs11("ctypes function list"), ("softhsm",)),
    "PyKCS11": Program(_pkcs11("PyKCS11"), ("softhsm", "PyKCS11")),
    "python-pkcs11": Program(_pkcs11("python-pkcs11"), ("softhsm", "pkcs11")),
}
