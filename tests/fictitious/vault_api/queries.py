"""What a vault is asked."""

from __future__ import annotations

import ctypes
import os
import sys


def keys_allowed(_realm: str, vault: int) -> int:
    """Ask how many keys a vault allows (VaultKeysAllowed), past everything that is traced."""
    name = os.environ["VAULT_LIBRARY"]
    if sys.platform == "win32":
        return 0
    import _ctypes

    handle = _ctypes.dlopen(name, os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        function = ctypes.CFUNCTYPE(ctypes.c_int)(_ctypes.dlsym(handle, "VaultKeysAllowed"))
        most = ctypes.c_size_t()
        refused = function(ctypes.c_size_t(vault), ctypes.byref(most))
    finally:
        _ctypes.dlclose(handle)
    return 0 if refused else most.value
