"""The log of pkcs11-spy is read as the calls that were made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import softhsm
import spy_log
import suite_runs

LOG = """

*************** OpenSC PKCS#11 spy *****************
Loaded: "/usr/lib/softhsm/libsofthsm2.so"

0: C_GetFunctionList
2026-11-25 13:54:23.357
Returned:  0 CKR_OK

1: C_OpenSession
2026-11-25 13:54:23.362
[in] slotID = 0x6571a3f5
[in] flags = 0x4
[in] pApplication=(nil)
[in] Notify=(nil)
[out] *phSession = 0x1
Returned:  0 CKR_OK

2: C_GenerateKey
2026-11-25 13:54:23.367
[in] hSession = 0x1
[in] pMechanism->type = CKM_AES_KEY_GEN
[in] pTemplate[2]:
    CKA_TOKEN             False
    CKA_? (0x00000633)    0000000000000000 / 0
    00000000  31 32 33 34                                      1234
[out] hKey = 0x2
Returned:  0 CKR_OK

3: C_Encrypt
2026-11-25 13:54:23.368
[in] hSession = 0x1
[in] pData[ulDataLen] 00007f5470779b90 / 16
[out] pEncryptedData[*pulEncryptedDataLen] NULL [size : 0x10 (16)]
Returned:  0 CKR_OK

4: C_FindObjects
2026-11-25 13:54:24.909
[in] hSession = 0x1
[in] ulMaxObjectCount = 0xa
[out] ulObjectCount = 0x2
Object 0x2 matches
Object 0xda matches
Returned:  0 CKR_OK

5: C_DestroyObject
2026-11-25 13:54:24.910
[in] hSession = 0x1
[in] hObject = 0x63
Returned:  130 CKR_OBJECT_HANDLE_INVALID

6: C_Finalize
2026-11-25 13:54:24.911
"""


def test_calls_have_their_arguments_and_results() -> None:
    """Handles, templates, buffers, what was found and the return code are those of the log."""
    _, opened, made, encrypted, found, destroyed, never = spy_log.parse(LOG.splitlines())
    assert (opened.numbers["slotID"], opened.numbers["phSession"]) == (0x6571A3F5, 1)
    assert opened.at == 1795614863.362
    assert made.templates["in pTemplate"]["CKA_TOKEN"] == "False"
    assert (made.numbers["hKey"], made.mechanism) == (2, True)
    assert encrypted.buffers == {"pEncryptedData": False}
    assert found.found == [2, 0xDA]
    assert (destroyed.result, destroyed.ok) == ("CKR_OBJECT_HANDLE_INVALID", False)
    assert (never.name, never.result) == ("C_Finalize", "")


def test_dumps_are_passed_over(tmp_path: Path) -> None:
    """A file is read as its lines are, whatever bytes the dumps in it have."""
    log = tmp_path / "spy"
    log.write_bytes(LOG.encode().replace(b" 1234\n", b" \xff\xfe\n"))
    assert spy_log.read(log) == spy_log.parse(LOG.splitlines())


def test_calls_that_overlap_keep_their_results() -> None:
    """A result goes to the call of another thread that can have it, and both are marked."""
    opened, closed = spy_log.parse(
        [
            "1: C_OpenSession",
            "[in] slotID = 0x1",
            "2: C_CloseSession",
            "[in] hSession = 0x9",
            "[out] *phSession = 0x1a",
            "Returned:  0 CKR_OK",
            "Returned:  179 CKR_SESSION_HANDLE_INVALID",
        ]
    )
    assert (opened.numbers["phSession"], opened.result) == (0x1A, "CKR_OK")
    assert (closed.numbers["hSession"], closed.result) == (9, "CKR_SESSION_HANDLE_INVALID")
    assert (opened.overlapped, closed.overlapped) == (True, True)


def test_a_call_without_its_results_has_not_returned() -> None:
    """A success goes to no call whose result is missing."""
    opened, random = spy_log.parse(
        ["1: C_OpenSession", "2: C_GenerateRandom", "Returned:  0 CKR_OK"]
    )
    assert (opened.result, random.result) == ("", "CKR_OK")
    random, opened = spy_log.parse(
        ["1: C_GenerateRandom", "2: C_OpenSession", "Returned:  0 CKR_OK"]
    )
    assert (opened.result, random.result) == ("", "CKR_OK")


FORK = """
import os, sys, PyKCS11
library = PyKCS11.PyKCS11Lib()
library.load(sys.argv[1])
(slot, *_) = library.getSlotList(tokenPresent=True)
mine = library.openSession(slot)
pid = os.fork()
if not pid:
    library.openSession(slot)
    os._exit(0)
os.waitpid(pid, 0)
mine.closeSession()
print(os.getpid(), pid)
"""


def test_a_fork_has_a_log_and_a_history_of_its_own(tmp_path: Path) -> None:
    """What a forked child does is in its own log, which begins with the parent's handles."""
    softhsm.need("PyKCS11", "spy")
    done = subprocess.run(
        [sys.executable, "-c", FORK, softhsm.spy()],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            **softhsm.environment(),
            "PKCS11SPY": softhsm.module(),
            "SPY_LOGS": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).with_name("spied")),
            "TZ": "UTC",
        },
        check=True,
    )
    parent, child = map(int, done.stdout.split())
    histories = suite_runs.histories(tmp_path)
    assert histories.keys() == {parent, child}
    assert [each.ended for each in histories[parent].handles] == ["closed"]
    inherited, own = histories[child].handles
    assert (inherited.inherited, own.inherited) == (True, False)
    assert histories[child].leaked_sessions() == [own]
