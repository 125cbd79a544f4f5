"""A program with one bug of each sort; `python program.py NAME` traces it and shows the bug.

The golden files hold its line numbers: add new functions after the others.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading

import csptrace
from csptrace.softcsp import advapi32, inject_fault, win32crypt

PROV_RSA_AES = 24
CRYPT_VERIFYCONTEXT = 0xF0000000
CRYPT_NEWKEYSET = 0x8
CALG_RC4 = 0x6801
CALG_SHA1 = 0x8004
CALG_HMAC = 0x8009
CALG_AES_256 = 0x6610
NTE_FAIL = 0x80090020


def acquire(name: str | None = None) -> ctypes.c_size_t:
    """Acquire a context."""
    flags = CRYPT_VERIFYCONTEXT if name is None else CRYPT_NEWKEYSET
    context = ctypes.c_size_t()
    assert advapi32.CryptAcquireContextW(ctypes.byref(context), name, None, PROV_RSA_AES, flags)
    return context


def generate(context: ctypes.c_size_t) -> ctypes.c_size_t:
    """Generate a key."""
    key = ctypes.c_size_t()
    assert advapi32.CryptGenKey(context, CALG_AES_256, 0, ctypes.byref(key))
    return key


def derive(context: ctypes.c_size_t) -> ctypes.c_size_t:
    """Make a key that an HMAC can use."""
    digest, key = ctypes.c_size_t(), ctypes.c_size_t()
    assert advapi32.CryptCreateHash(context, CALG_SHA1, None, 0, ctypes.byref(digest))
    assert advapi32.CryptDeriveKey(context, CALG_RC4, digest, 0, ctypes.byref(key))
    assert advapi32.CryptDestroyHash(digest)
    return key


def leaked_at_release() -> None:
    """Release a context with a key under it."""
    context = acquire()
    generate(context)
    advapi32.CryptReleaseContext(context, 0)


def leaked_at_exit() -> None:
    """Never release a context."""
    acquire()


def lost() -> None:
    """Let the last reference to a key object go."""
    context = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT)
    key = context.CryptGenKey(CALG_AES_256, 0)
    del key
    gc.collect()
    context.CryptReleaseContext()


def use_after_release() -> None:
    """Export a key after it was destroyed."""
    context = acquire()
    key = generate(context)
    advapi32.CryptDestroyKey(key)
    try:
        advapi32.CryptGetKeyParam(key, 7, None, None, 0)
    except csptrace.UseAfterRelease:
        advapi32.CryptReleaseContext(context, 0)


def use_after_invalidation() -> None:
    """Use a key after its context is gone."""
    context = acquire()
    key = generate(context)
    advapi32.CryptReleaseContext(context, 0)
    try:
        advapi32.CryptGetKeyParam(key, 7, None, None, 0)
    except csptrace.UseAfterInvalidation:
        return


def double_release() -> None:
    """Destroy a key twice."""
    context = acquire()
    key = generate(context)
    advapi32.CryptDestroyKey(key)
    try:
        advapi32.CryptDestroyKey(key)
    except csptrace.DoubleRelease:
        advapi32.CryptReleaseContext(context, 0)


def wrong_release() -> None:
    """Destroy a key as if it were a hash."""
    context = acquire()
    key = generate(context)
    try:
        advapi32.CryptDestroyHash(key)
    except csptrace.WrongRelease:
        advapi32.CryptDestroyKey(key)
        advapi32.CryptReleaseContext(context, 0)


def out_of_order_release() -> None:
    """Destroy a key after its context."""
    context = acquire()
    key = generate(context)
    advapi32.CryptReleaseContext(context, 0)
    try:
        advapi32.CryptDestroyKey(key)
    except csptrace.OutOfOrderRelease:
        return


def stale_dependency() -> None:
    """Go on with an HMAC whose key was destroyed."""
    context = acquire()
    key = derive(context)
    digest = ctypes.c_size_t()
    advapi32.CryptCreateHash(context, CALG_HMAC, key, 0, ctypes.byref(digest))
    advapi32.CryptDestroyKey(key)
    try:
        advapi32.CryptHashData(digest, b"text", 4, 0)
    except csptrace.StaleDependency:
        advapi32.CryptDestroyHash(digest)
        advapi32.CryptReleaseContext(context, 0)


def failed_release() -> None:
    """Do not look at the result of a release."""
    context = acquire()
    key = generate(context)
    with inject_fault("CryptDestroyKey", NTE_FAIL, nth=1):
        advapi32.CryptDestroyKey(key)
    advapi32.CryptDestroyKey(key)
    advapi32.CryptReleaseContext(context, 0)


def siblings() -> None:
    """Forget one key of four."""
    context = acquire()
    for number in range(4):
        key = generate(context)
        if number != 2:
            advapi32.CryptDestroyKey(key)
    advapi32.CryptReleaseContext(context, 0)


def named() -> None:
    """Leak a context with a name, in a thread with a name."""
    thread = threading.Thread(target=acquire, args=("Müller \x1b[31m & Söhne",), name="wörker\n1")
    thread.start()
    thread.join()


def reused() -> None:
    """Destroy a key twice when its value belongs to a hash already."""
    context = acquire()
    key = generate(context)
    advapi32.CryptDestroyKey(key)
    digest = ctypes.c_size_t()
    advapi32.CryptCreateHash(context, CALG_SHA1, None, 0, ctypes.byref(digest))
    assert digest.value == key.value
    try:
        advapi32.CryptDestroyKey(key)
    except csptrace.DoubleRelease:
        advapi32.CryptDestroyHash(digest)
        advapi32.CryptReleaseContext(context, 0)


def inherited() -> None:
    """Misuse, in the child of a fork, a key that the parent acquired."""
    context = acquire()
    key = generate(context)
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        advapi32.CryptDestroyKey(key)
        advapi32.CryptReleaseContext(context, 0)
        return
    mine = acquire()
    try:
        advapi32.CryptDestroyKey(key)
        advapi32.CryptReleaseContext(mine, 0)
        advapi32.CryptGetKeyParam(key, 7, None, None, 0)
    except csptrace.UseAfterRelease:
        acquire()


def nothing() -> None:
    """Do everything right."""
    context = acquire()
    key = generate(context)
    advapi32.CryptDestroyKey(key)
    advapi32.CryptReleaseContext(context, 0)


def used() -> None:
    """Use a key, and destroy it twice."""
    context = acquire()
    key = generate(context)
    size = ctypes.c_uint32(4)
    assert advapi32.CryptGetKeyParam(key, 7, None, ctypes.byref(size), 0)
    advapi32.CryptDestroyKey(key)
    try:
        advapi32.CryptDestroyKey(key)
    except csptrace.DoubleRelease:
        advapi32.CryptReleaseContext(context, 0)


def held_too_long() -> None:
    """Hold a context until that is reported, and release it then."""
    context = acquire()
    tracer, pause = csptrace.current(), threading.Event()
    for _ in range(6000):
        if tracer is None or tracer.reporter.codes["held-too-long"]:
            break
        pause.wait(0.01)
    advapi32.CryptReleaseContext(context, 0)


inside, leave = threading.Event(), threading.Event()


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
def _succeed(_first: object) -> int:
    return 0


@ctypes.CFUNCTYPE(
    ctypes.c_int,
    *(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ulong),
)
def _open(
    _slot: int, _flags: int, _application: object, _notify: object, session: list[int]
) -> int:
    session[0] = 1
    return 0


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)
def _wait(_session: int, _data: object, _size: int) -> int:
    inside.set()
    leave.wait(60)
    return 0


class Module(ctypes.CDLL):
    """A PKCS#11 module with one slot, whose random numbers take their time."""

    def __init__(self) -> None:
        self._name, self._handle = "token", 0
        pointer = type("_FuncPtr", (ctypes._CFuncPtr,), {"_flags_": 1, "_restype_": ctypes.c_int})
        functions = {"C_OpenSession": _open, "C_GenerateRandom": _wait}
        self._FuncPtr = lambda what: pointer(
            ctypes.cast(functions.get(what[0], _succeed), ctypes.c_void_p).value
        )


def release_while_in_use() -> None:
    """Close a session while another thread waits for its random numbers."""
    module, session = Module(), ctypes.c_ulong()
    module.C_Initialize(None)
    module.C_OpenSession(ctypes.c_ulong(), ctypes.c_ulong(4), None, None, ctypes.byref(session))

    def work() -> None:
        module.C_GenerateRandom(session, None, ctypes.c_ulong(8))

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    inside.wait(60)
    try:
        module.C_CloseSession(session)
    except csptrace.ReleaseWhileInUse:
        leave.set()
        worker.join(60)
        module.C_CloseSession(session)


if __name__ == "__main__":
    csptrace.start()
    for name in sys.argv[1:]:
        globals()[name]()
