"""What each exhibit must be reported as: data only."""

from __future__ import annotations

from typing import Final, NamedTuple

PROV: Final = "HCRYPTPROV"
KEY: Final = "HCRYPTKEY"
HASH: Final = "HCRYPTHASH"


class Expected(NamedTuple):
    """One finding.

    Attributes:
        code: its code.
        kind: the kind of its handle.
        mark: what the comment on the acquisition's line in the exhibit says.
    """

    code: str
    kind: str
    mark: str = "acquired"


class Exhibit(NamedTuple):
    """One bug, re-enacted in `exhibits/<name>.py`.

    Attributes:
        name: the module's name.
        report: where the bug was reported.
        bug: the bug in a few words.
        findings: what is found in the program, oldest first; in its fixed twin, nothing is.
        binding: "ctypes", or "win32crypt" for a program that uses handle objects.
        notice: the code of the notice about the library that the program must cause, if any.
        rescued: what the program returns under the tracer only, if the tracer keeps it working.
        causes: why each of its leaks happened: the pattern, the function that should have released
            the handle, and how its line there begins.
    """

    name: str
    report: str
    bug: str
    findings: tuple[Expected, ...]
    binding: str = "ctypes"
    notice: str = ""
    rescued: str = ""
    causes: tuple[tuple[str, str, str], ...] = ()


def _leak(kind: str, mark: str = "acquired") -> Expected:
    return Expected("leaked-at-release", kind, mark)


def _at_exit(kind: str, mark: str = "acquired") -> Expected:
    return Expected("leaked-at-exit", kind, mark)


EXHIBITS: Final = (
    Exhibit(
        "libtommath_519",
        "libtom/libtommath#519",
        "context never released",
        (_at_exit(PROV),),
        causes=(("branch", "program", "if fixed:"),),
    ),
    Exhibit(
        "liboqs_349",
        "open-quantum-safe/liboqs#349",
        "context not released, once a call",
        (_at_exit(PROV), _at_exit(PROV)),
        causes=(
            ("branch", "randombytes_system", "return buffer.raw"),
            ("branch", "randombytes_system", "return buffer.raw"),
        ),
    ),
    Exhibit(
        "libntru_15",
        "tbuktu/libntru#15",
        "early return",
        (_at_exit(PROV),),
        causes=(("early-return", "rand_wincrypt_init", "return False"),),
    ),
    Exhibit(
        "libspdm_303",
        "DMTF/libspdm#303",
        "return on a refused call",
        (_at_exit(PROV),),
        causes=(("early-return", "program", "return False"),),
    ),
    Exhibit(
        "minizip_368_order",
        "zlib-ng/minizip-ng#368 (1)",
        "hash destroyed after its context",
        (_leak(HASH), Expected("out-of-order-release", HASH)),
        causes=(("order", "program", "hmac_delete(hmac)"),),
    ),
    Exhibit(
        "minizip_368_overwrite",
        "zlib-ng/minizip-ng#368 (2)",
        "handle overwritten by a copy",
        (_leak(HASH),),
        causes=(("overwritten", "hmac_copy", "advapi32.CryptDuplicateHash(source, None"),),
    ),
    Exhibit(
        "aws_2919",
        "aws/aws-sdk-cpp#2919",
        "handle overwritten",
        (_leak(HASH), _leak(HASH)),
        causes=(
            ("overwritten", "calculate", "advapi32.CryptHashData(hHash, text, len("),
            ("overwritten", "calculate", "advapi32.CryptHashData(hHash, text, len("),
        ),
    ),
    Exhibit(
        "yara_1703",
        "VirusTotal/yara#1703",
        "hash begun and not finished",
        (_leak(HASH),),
        causes=(("early-return", "data_hash", "return None"),),
    ),
    Exhibit(
        "xmlsec_1195",
        "lsh123/xmlsec#1195",
        "inverted check in clean-up",
        (_at_exit(PROV),),
        causes=(("branch", "program", "return bool(advapi32.CryptImportKey(hPro"),),
    ),
    Exhibit(
        "xmlsec_1183",
        "lsh123/xmlsec#1183",
        "key freed twice on the error path",
        (Expected("double-release", KEY),),
    ),
    Exhibit(
        "curl_19176",
        "curl/curl#19176",
        "first of two hashes left when the second fails",
        (_at_exit(PROV, "acquired: prov"), _at_exit(HASH, "acquired: hash")),
        causes=(
            ("early-return", "program", "return False"),
            ("early-return", "program", "return False"),
        ),
    ),
    Exhibit(
        "corefx_2229",
        "dotnet/corefx#2229",
        "release methods that do nothing",
        (
            _at_exit(PROV, "acquired: prov"),
            _at_exit(KEY, "acquired: key"),
            _at_exit(HASH, "acquired: hash"),
        ),
        causes=(
            ("never-released", "program", 'release_handle("CryptReleaseContext", hP'),
            ("never-released", "program", 'release_handle("CryptReleaseContext", hP'),
            ("never-released", "program", 'release_handle("CryptReleaseContext", hP'),
        ),
    ),
    Exhibit(
        "corefx_6210",
        "dotnet/corefx#6210",
        "key freed after its provider",
        (_leak(KEY), Expected("out-of-order-release", KEY)),
        causes=(("order", "program", "provider.release()"),),
    ),
    Exhibit(
        "jdk_8303607_destroy_hash",
        "JDK-8303607",
        "key freed as a hash",
        (Expected("wrong-release", KEY), _leak(KEY)),
        causes=(("branch", "program", "advapi32.CryptReleaseContext(hProv, 0)"),),
    ),
    Exhibit(
        "jdk_8303607_release_context",
        "JDK-8303607",
        "key freed as a context",
        (Expected("wrong-release", KEY), _leak(KEY)),
        causes=(("branch", "program", "advapi32.CryptReleaseContext(hProv, 0)"),),
    ),
    Exhibit(
        "ice_6262",
        "zeroc-ice/ice#6262",
        "context left by a failed import",
        (_at_exit(PROV),),
        causes=(("branch", "program", "advapi32.CryptAcquireContextW(byref(hKey"),),
    ),
    Exhibit(
        "ice_5520",
        "zeroc-ice/ice#5520",
        "reference count leak",
        (_at_exit(PROV),),
        causes=(("branch", "program", "advapi32.CryptReleaseContext(hProv, 0)"),),
    ),
    Exhibit(
        "identitymodel_1578",
        "AzureAD/…identitymodel…#1578",
        "cache keeps a released context",
        (Expected("use-after-release", PROV),),
    ),
    Exhibit(
        "situational_awareness_154",
        "trustedsec/CS-Situational-Awareness-BOF#154",
        "key used after its context",
        (_leak(KEY), Expected("use-after-invalidation", KEY)),
        causes=(("branch", "program", "advapi32.CryptReleaseContext(hProv, 0)"),),
    ),
    Exhibit("drmemory_1235", "DynamoRIO/drmemory#1235", "none: bait for false alarms", ()),
    Exhibit(
        "pywin32_double_release",
        "pywin32, destructors",
        "destructor releases again and hits another context",
        (),
        binding="win32crypt",
        notice="quarantine win32crypt",
        rescued="20",
    ),
    Exhibit(
        "pywin32_lost_provider",
        "pywin32, PyCRYPTHASH",
        "provider collected under a hash",
        (
            Expected("lost", PROV, "acquired: prov"),
            _leak(HASH, "acquired: hash"),
            Expected("use-after-invalidation", HASH, "acquired: hash"),
        ),
        binding="win32crypt",
        causes=(
            ("never-released", "program", "del provider"),
            ("never-released", "program", 'hashed.CryptHashData(b"data")'),
        ),
    ),
    Exhibit(
        "pywin32_key_destructor",
        "pywin32, PyCRYPTKEY",
        "context and key never released; the destructors' order is the library's",
        (Expected("lost", KEY, "acquired: key"), Expected("lost", PROV, "acquired: prov")),
        binding="win32crypt",
        causes=(
            ("branch", "program", "del key"),
            ("branch", "program", "del key"),
        ),
    ),
    Exhibit(
        "pywin32_2636",
        "mhammond/pywin32#2636",
        "key object destroyed twice",
        (Expected("double-release", KEY),),
        binding="win32crypt",
    ),
)

NOT_REENACTED: Final = {
    "certificate stores and contexts": (
        "mhammond/pywin32#2636 (the original)",
        "python/cpython#14999",
        "lsh123/xmlsec#638, #640, #641, #643, #647, #648",
        "zeroc-ice/ice#5520 (the original)",
        "google/certtostore#76",
        "jstedfast/MailKit#1989",
    ),
    "Schannel credentials and buffers": (
        "Azure/azure-c-shared-utility#62, #540",
        "curl/curl#19556",
    ),
    "CNG (bcrypt, ncrypt)": (
        "aws/aws-sdk-cpp#2919 (the original)",
        "lsh123/xmlsec#1183 (the original)",
        "JDK-8303607 (the original), microsoft/openjdk-jdk11u#17",
        "dotnet/corefx#6010, #8499, #12010",
        "winsiderss/systeminformer#493",
        "rmyorston/busybox-w32#508",
        "microsoft/msquic#5526",
        "Tr3kkR/Yuzu#3172, #4378",
    ),
    "key containers (not handles)": ("ShawInnes/SshKeyGenerator#5", "zeroc-ice/ice#6681"),
    "PKCS#11 sessions": (
        "Yubico/yubihsm-shell#379",
        "OpenSC/libp11#583",
        "pyauth/python-pkcs11#18",
        "openssl-projects/pkcs11-provider#66",
    ),
}
"""Field bugs of the same sorts that have no exhibit here: API → reports."""
