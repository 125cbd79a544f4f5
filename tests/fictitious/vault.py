"""Builds `vault.c`, a fictitious provider in a real shared library, and loads it in two ways."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import required

SOURCE = Path(__file__).with_name("vault.c")
DECLARATIONS = """
int VaultOpen(size_t *);
int VaultClose(size_t);
int VaultMakeKey(size_t, size_t *);
int VaultMakeSecret(size_t, size_t *);
int VaultMasterKey(size_t, uint32_t, size_t *);
int VaultUse(size_t);
int VaultFree(size_t);
int VaultAddRef(size_t);
int DriveOpen(size_t, uint32_t, size_t *);
int DriveClose(size_t);
int TicketOpen(size_t, uint32_t, size_t *);
int TicketKeep(size_t, uint32_t);
int TicketMode(size_t, uint32_t);
int TicketUse(size_t);
int TicketDrop(size_t);
int TicketFree(size_t);
int VaultSignStart(size_t);
int VaultSignUpdate(size_t);
int VaultSignFinish(size_t);
"""


@functools.cache
def library() -> Path:
    """Build the shared library once in this process; skip the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        required.missing("cc", "no C compiler (cc or gcc)")
    folder = tempfile.TemporaryDirectory(prefix="vault-")
    atexit.register(folder.cleanup)
    target = Path(folder.name) / "libvault.so"
    command = [str(compiler), "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-std=c99"]
    subprocess.run([*command, str(SOURCE), "-o", str(target)], check=True)
    return target


class Vault:
    """The library as a program sees it, through one binding."""

    def __init__(self, binding: str) -> None:
        self.binding = binding
        if binding == "ctypes":
            self.lib: Any = ctypes.CDLL(str(library()))
        else:
            import cffi

            self._ffi: Any = cffi.FFI()
            self._ffi.cdef(DECLARATIONS)
            self.lib = self._ffi.dlopen(str(library()))

    def call(self, name: str, *handles: int) -> int:
        """Call a function of handles; return its status."""
        given = handles if self.binding == "cffi" else map(ctypes.c_size_t, handles)
        return int(getattr(self.lib, name)(*given))

    def get(self, name: str, *handles: int) -> int:
        """Call a function with an out parameter; return what it stored."""
        if self.binding == "cffi":
            out = self._ffi.new("size_t *")
            assert not getattr(self.lib, name)(*handles, out)
            return int(out[0])
        box = ctypes.c_size_t()
        assert not getattr(self.lib, name)(*map(ctypes.c_size_t, handles), ctypes.byref(box))
        return box.value
