"""Builds `fakecsp.c`, a provider in a real shared library, and says how it is declared."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import required

SOURCE = Path(__file__).with_name("fakecsp.c")
NO_COMPILER = "no C compiler (cc or gcc)"

# A vendor's library on Unix; traced because it is named in the setting `libraries`.
LIBRARY = "libcapi20.so"

DECLARATIONS = """
typedef uintptr_t HCRYPTPROV, HCRYPTKEY, HCRYPTHASH;
typedef uint32_t DWORD;
typedef int BOOL;
BOOL CryptAcquireContextA(HCRYPTPROV *, const char *, const char *, DWORD, DWORD);
BOOL CryptContextAddRef(HCRYPTPROV, DWORD *, DWORD);
BOOL CryptReleaseContext(HCRYPTPROV, DWORD);
BOOL CryptGenRandom(HCRYPTPROV, DWORD, unsigned char *);
BOOL CryptGenKey(HCRYPTPROV, DWORD, DWORD, HCRYPTKEY *);
BOOL CryptGetUserKey(HCRYPTPROV, DWORD, HCRYPTKEY *);
BOOL CryptDeriveKey(HCRYPTPROV, DWORD, HCRYPTHASH, DWORD, HCRYPTKEY *);
BOOL CryptImportKey(HCRYPTPROV, const unsigned char *, DWORD, HCRYPTKEY, DWORD, HCRYPTKEY *);
BOOL CryptExportKey(HCRYPTKEY, HCRYPTKEY, DWORD, DWORD, unsigned char *, DWORD *);
BOOL CryptDuplicateKey(HCRYPTKEY, DWORD *, DWORD, HCRYPTKEY *);
BOOL CryptDestroyKey(HCRYPTKEY);
BOOL CryptCreateHash(HCRYPTPROV, DWORD, HCRYPTKEY, DWORD, HCRYPTHASH *);
BOOL CryptDuplicateHash(HCRYPTHASH, DWORD *, DWORD, HCRYPTHASH *);
BOOL CryptHashData(HCRYPTHASH, const unsigned char *, DWORD, DWORD);
BOOL CryptDestroyHash(HCRYPTHASH);
"""
FAKE_DECLARATIONS = DECLARATIONS + "DWORD GetLastError(void);\nint fake_calls(const char *);\n"


def need() -> None:
    """Skip the test where the library cannot be built; fail it where `cc` is required."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        required.missing("cc", NO_COMPILER)
    if importlib.util.find_spec("cffi") is None:
        required.missing("cc", "cffi is not installed")


def _compile(*arguments: str | Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    command = [compiler, "-shared", "-fPIC", "-O1", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="fakecsp-")
    atexit.register(folder.cleanup)
    return folder


@functools.cache
def library() -> Path:
    """Build the shared library once in this process and return its path."""
    target = Path(_folder().name) / LIBRARY
    _compile("-std=c99", SOURCE, "-o", target)
    return target


@functools.cache
def extension(name: str) -> Path:
    """Build a compiled (API mode) cffi module around the same code; return its folder."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(FAKE_DECLARATIONS)
    ffi.set_source(name, SOURCE.read_text(encoding="utf-8"))
    folder = Path(_folder().name)
    generated = folder / f"{name}.c"
    ffi.emit_c_code(str(generated))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = sysconfig.get_paths()["include"]
    _compile(f"-I{include}", generated, "-o", folder / f"{name}{suffix}")
    return folder
