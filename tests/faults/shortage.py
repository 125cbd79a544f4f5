"""A program that is short of everything from a point on, and acquires handles only then.

`shortage.py CLIENT SHORTAGE TRACED FOLDER`: CLIENT is one of `CLIENTS`, SHORTAGE one of
`SHORTAGES`, TRACED 1 or 0, FOLDER an empty folder. Everything of its own is imported by then, as a
server does that gives its rights up: it must say the same whether it is traced or not.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534


def say(*words: object) -> None:
    """Say something that is compared."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def softcsp_ctypes() -> Callable[[], None]:
    """Leak and misuse handles of a library whose functions are looked up late."""
    import ctypes

    from csptrace.softcsp.library import SoftLibrary

    library = SoftLibrary()

    def work() -> None:
        context, digest = ctypes.c_size_t(), ctypes.c_size_t()
        say(library.CryptAcquireContextW(ctypes.byref(context), None, None, 24, 0xF0000000))
        say(library.CryptCreateHash(context, 0x8004, None, 0, ctypes.byref(digest)))
        say(library.CryptHashData(digest, b"data", 4, 0), library.CryptDestroyHash(digest))
        say(library.CryptDestroyHash(digest), hex(library.GetLastError() & 0xFFFFFFFF))
        say(library.CryptCreateHash(context, 0x8004, None, 0, ctypes.byref(digest)))
        say(library.CryptReleaseContext(context, 0))
        say(library.CryptDestroyHash(digest))

    return work


def softcsp_objects() -> Callable[[], None]:
    """Leak handle objects."""
    from csptrace.softcsp import win32crypt

    def work() -> None:
        context = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
        digest = context.CryptCreateHash(0x8004)
        digest.CryptHashData(b"data")
        say(digest.CryptGetHashParam(2).hex())
        digest.CryptDestroyHash()
        kept = context.CryptCreateHash(0x8004)
        context.CryptReleaseContext()
        say(type(kept).__name__)
        del kept
        gc.collect()

    return work


def pkcs11(binding: str) -> Callable[[], Callable[[], None]]:
    """Leak objects of a session of SoftHSM."""

    def prepare() -> Callable[[], None]:
        sys.path.append(str(Path(__file__).parents[1] / "conformance"))
        clients: Any = importlib.import_module("pkcs11_clients")
        client = clients.BINDINGS[binding][1]()
        client.load(os.environ["PKCS11_MODULE"])
        session = client.open("48151623")

        def work() -> None:
            key = client.gen_key(session)
            say(len(client.encrypt(session, key)))
            client.destroy(session, key)
            client.gen_key(session)
            client.close(session)
            say("closed")

        return work

    return prepare


CLIENTS = {
    "softcsp-ctypes": softcsp_ctypes,
    "softcsp-objects": softcsp_objects,
    "pkcs11-exports": pkcs11("ctypes exports"),
    "PyKCS11": pkcs11("PyKCS11"),
    "python-pkcs11": pkcs11("python-pkcs11"),
}


def descriptors(_folder: str) -> None:
    """Have no file descriptor left."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        pass


def root(folder: str) -> None:
    """Have an empty folder for a root directory."""
    os.chroot(folder)
    os.chdir("/")


def rights(_folder: str) -> None:
    """Be nobody, who may read nothing that was imported from."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def size(_folder: str) -> None:
    """Let no file grow."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


def disk(_folder: str) -> None:
    """Fill the disk that the log is on."""
    with open(os.path.join(os.environ["CSPTRACE_LOG"], "filling"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 512)
        except OSError:
            pass


def place(folder: str) -> None:
    """Have no working directory."""
    os.mkdir(os.path.join(folder, "gone"))
    os.chdir(os.path.join(folder, "gone"))
    os.rmdir(os.path.join(folder, "gone"))


def modules(_folder: str) -> None:
    """Find no module."""
    sys.path.clear()
    sys.path_importer_cache.clear()


SHORTAGES = {
    each.__name__: each for each in (descriptors, root, rights, size, disk, place, modules)
}


def main() -> None:
    """Play."""
    client, shortage, traced, folder = sys.argv[1:]
    if client.startswith("softcsp"):
        CLIENTS[client]()()  # it imports some of its own modules late
        gc.collect()
        say("warm")
    if traced == "1":
        import csptrace

        csptrace.start()
    work = CLIENTS[client]()
    SHORTAGES[shortage](folder)
    say("now")
    work()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        if client.startswith("softcsp"):
            work()
        raise SystemExit(3)
    say("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    raise SystemExit(5)


if __name__ == "__main__":
    main()
