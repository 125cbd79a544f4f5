"""on_misuse=fatal: the provider is asked, except where the call would end the process.

Each program is run without a tracer first: what it says, or how it dies, is what is right.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import softhsm

PROGRAM = """
import sys
_, module, label, binding, steps = sys.argv
if binding == "PyKCS11":
    import PyKCS11
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    session = library.openSession(library.getSlotList(tokenPresent=True)[0])
    close, use, ask = session.closeSession, session.generateRandom, library.getSlotList
    use = lambda: session.generateRandom(4)
    unload = library.unload
    def again():
        other = PyKCS11.PyKCS11Lib()
        other.load(module)
        return other
    def anew(): library.load(module)
else:
    import pkcs11
    library = pkcs11.lib(module)
    session = library.get_token(token_label=label).open()
    close, use, ask = session.close, lambda: session.generate_random(32), library.get_slots
    def unload(): pkcs11.unload(module)
    def again(): return pkcs11.lib(module)
    finalize = library.finalize
kept = []
*before, last = steps.split()
for step in before:
    kept.append(globals()[step]())
try:
    globals()[last]()
except Exception as error:
    print(type(error).__name__)
else:
    print("fine")
"""
PROGRAMS = [
    ("PyKCS11", "close use"),
    ("PyKCS11", "close close"),
    ("PyKCS11", "unload use"),
    ("PyKCS11", "unload ask"),
    ("PyKCS11", "unload close"),
    ("PyKCS11", "close unload use"),
    ("PyKCS11", "unload again use"),
    ("PyKCS11", "close unload again use"),
    ("PyKCS11", "unload anew use"),
    ("PyKCS11", "unload anew ask"),
    ("python-pkcs11", "close use"),
    ("python-pkcs11", "close close"),
    ("python-pkcs11", "finalize use"),
    ("python-pkcs11", "finalize ask"),
    ("python-pkcs11", "finalize close"),
    ("python-pkcs11", "unload use"),
    ("python-pkcs11", "unload ask"),
    ("python-pkcs11", "unload close"),
    ("python-pkcs11", "close unload use"),
    ("python-pkcs11", "unload again use"),
    ("python-pkcs11", "unload again ask"),
]
REFUSALS = ("UseAfterRelease", "UseAfterInvalidation", "OutOfOrderRelease", "DoubleRelease")


def _run(binding: str, steps: str, *, traced: bool) -> subprocess.CompletedProcess[str]:
    start = "import csptrace\ncsptrace.start(on_misuse='fatal')\n" if traced else ""
    return subprocess.run(
        [
            *(sys.executable, "-c", start + PROGRAM),
            *(softhsm.module(), softhsm.LABEL, binding, steps),
        ],
        env={**os.environ, **softhsm.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("binding", "steps"), PROGRAMS)
def test_only_what_would_crash_is_refused(binding: str, steps: str) -> None:
    """What the provider answers reaches the program; a call that kills it is raised instead."""
    softhsm.need({"PyKCS11": "PyKCS11", "python-pkcs11": "pkcs11"}[binding])
    plain = _run(binding, steps, traced=False)
    traced = _run(binding, steps, traced=True)

    assert traced.returncode == 0, traced.stderr
    if plain.returncode == -signal.SIGSEGV:
        assert traced.stdout.strip() in REFUSALS
    else:
        assert plain.returncode == 0, plain.stderr
        assert traced.stdout == plain.stdout
    if plain.stdout != "fine\n":
        assert "csptrace: " in traced.stderr
