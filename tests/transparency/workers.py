"""Hands functions of win32crypt to other processes: `python workers.py START_METHOD`.

MIRROR_TRACED names the processes that trace: `parent`, `child`, both or none.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import sys
from typing import Any

import csptrace

if ("parent" if __name__ == "__main__" else "child") in os.environ["MIRROR_TRACED"]:
    csptrace.start(quiet=True, strict=True)

from csptrace.softcsp import win32crypt

MACHINE = 1
PROV_RSA_AES = 24


def is_what_the_child_has(function: Any) -> bool:
    """Tell whether a function has arrived as the one that the module has here."""
    return function is win32crypt.CryptEnumProviders


def main(method: str) -> list[Any]:
    """Hand functions over in every way.

    Args:
        method: how processes are started.

    Returns:
        What came back.
    """
    context = multiprocessing.get_context(method)
    process = context.Process(target=win32crypt.CryptEnumProviders)
    process.start()
    process.join()
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        default = functools.partial(win32crypt.CryptGetDefaultProvider, PROV_RSA_AES)
        return [
            process.exitcode,
            pool.submit(win32crypt.CryptEnumProviders).result(),
            pool.submit(default, MACHINE).result(),
            list(pool.map(win32crypt.CryptGetDefaultProvider, [PROV_RSA_AES], [MACHINE])),
            pool.submit(is_what_the_child_has, win32crypt.CryptEnumProviders).result(),
        ]


if __name__ == "__main__":
    sys.stdout.write(repr(main(sys.argv[1])))
