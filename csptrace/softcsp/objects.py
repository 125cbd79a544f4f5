"""What handles stand for: contexts, keys and hashes.

Plain state with slots; the rules are in `provider`. No repr shows anything but kind and algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.softcsp import ciphers
from csptrace.softcsp.constants import (
    CRYPT_DECRYPT,
    CRYPT_ENCRYPT,
    CRYPT_EXPORT,
    CRYPT_MAC,
    CRYPT_MODE_CBC,
    CRYPT_READ,
    CRYPT_WRITE,
    PKCS5_PADDING,
)

if TYPE_CHECKING:
    from csptrace.softcsp.algorithms import ProviderEntry
    from csptrace.softcsp.digests import Digest
    from csptrace.softcsp.rsakeys import RsaKey
    from csptrace.softcsp.store import ContainerFile, StoredPair


class Context:
    """One HCRYPTPROV.

    Attributes:
        entry: the provider it was acquired from.
        container: its container on disk; None for CRYPT_VERIFYCONTEXT, which touches no disk.
        flags: the flags it was acquired with.
        references: 1 after acquiring; CryptContextAddRef raises it, CryptReleaseContext lowers it.
        children: handles of the keys and hashes created with it, oldest first.
        stored: key pairs as last read or written, so that a context outlives its container.
        opened: key pairs taken apart, each with the stored form it came from.
        pins: passwords by key spec.
        cursors: position of each enumeration.

    """

    __slots__ = (
        "children",
        "container",
        "cursors",
        "entry",
        "flags",
        "handle",
        "opened",
        "pins",
        "references",
        "stored",
    )

    def __init__(self, entry: ProviderEntry, container: ContainerFile | None, flags: int) -> None:
        """Make a context with one reference and no children."""
        self.handle = 0
        self.entry = entry
        self.container = container
        self.flags = flags
        self.references = 1
        self.children: dict[int, None] = {}
        self.stored: dict[int, StoredPair] = {}
        self.opened: dict[int, tuple[StoredPair | None, RsaKey]] = {}
        self.pins: dict[int, bytes] = {}
        self.cursors: dict[int, int] = {}

    def __repr__(self) -> str:
        """Say which provider it is of."""
        return f"<context of {self.entry.name}>"


class Key:
    """One HCRYPTKEY: a session key, a public key or a key pair.

    Attributes:
        context: the context it was created with.
        algid: its algorithm.
        material: the bytes of a session key; zeroed on destruction.
        salt: what is appended to them (40-bit keys); zeroed on destruction.
        rsa: the numbers of an RSA key; None for a session key.
        permissions: KP_PERMISSIONS.
        alive: False once destroyed; a hash keyed with it then refuses to go on.
        stream: the message being enciphered or deciphered, None between messages.

    """

    __slots__ = (
        "_cipher",
        "algid",
        "alive",
        "context",
        "effective_bits",
        "handle",
        "iv",
        "material",
        "mode",
        "mode_bits",
        "padding",
        "permissions",
        "rsa",
        "salt",
        "stream",
    )

    def __init__(self, context: Context, algid: int, *, exportable: bool) -> None:
        """Make a key without content."""
        self.handle = 0
        self.context = context
        self.algid = algid
        self.material = bytearray()
        self.salt = bytearray()
        self.rsa: RsaKey | None = None
        self.permissions = CRYPT_ENCRYPT | CRYPT_DECRYPT | CRYPT_READ | CRYPT_WRITE | CRYPT_MAC
        if exportable:
            self.permissions |= CRYPT_EXPORT
        self.alive = True
        self.mode = CRYPT_MODE_CBC if algid in ciphers.BLOCK_SIZES else 0
        self.mode_bits = 0
        self.padding = PKCS5_PADDING
        self.effective_bits = 0
        self.iv = bytes(ciphers.BLOCK_SIZES.get(algid, 0))
        self.stream: ciphers.Stream | None = None
        self._cipher: ciphers.BlockCipher | None = None

    def __repr__(self) -> str:
        """Say which algorithm it is for."""
        return f"<key, algorithm {self.algid:#x}>"

    @property
    def block(self) -> int:
        """Length of a block in bytes; 0 for stream ciphers and RSA."""
        return ciphers.BLOCK_SIZES.get(self.algid, 0)

    @property
    def effective(self) -> int:
        """Effective key length in bits, salt not counted."""
        return self.effective_bits or len(self.material) * 8

    def cipher(self) -> ciphers.BlockCipher:
        """Give the keyed block function, made at first need."""
        if self._cipher is None:
            key = bytes(self.material + self.salt)
            self._cipher = ciphers.block_cipher(self.algid, key, self.effective)
        return self._cipher

    def going_on(self, *, encrypt: bool) -> ciphers.Stream:
        """Give the message being enciphered or deciphered, in this direction, or start one."""
        if self.stream is None:
            return self.start(encrypt=encrypt)
        return self.stream.turned(self.mode, encrypt=encrypt)

    def start(self, *, encrypt: bool) -> ciphers.Stream:
        """Start a message with the key's mode and initialization vector."""
        if not self.block:
            return ciphers.rc4_stream(bytes(self.material + self.salt))
        return ciphers.block_stream(self.cipher(), self.mode, self.iv, encrypt=encrypt)

    def rekey(self) -> None:
        """Forget what was derived from the bytes or the parameters that just changed."""
        self._cipher = None
        self.stream = None

    def copy(self) -> Key:
        """Make an independent copy in the same state, without a handle."""
        twin = Key(self.context, self.algid, exportable=False)
        twin.material = self.material[:]
        twin.salt = self.salt[:]
        twin.rsa = self.rsa
        twin.permissions = self.permissions
        twin.mode = self.mode
        twin.mode_bits = self.mode_bits
        twin.padding = self.padding
        twin.effective_bits = self.effective_bits
        twin.iv = self.iv
        twin.stream = self.stream.copy() if self.stream else None
        return twin

    def wipe(self) -> None:
        """Overwrite the bytes that Python lets us overwrite.

        Copies inside the `cryptography` package, in `bytes` objects and in the numbers of an RSA
        key are out of reach and wait for the garbage collector.
        """
        self.alive = False
        for secret in (self.material, self.salt):
            secret[:] = bytes(len(secret))
        self.rsa = None
        self.rekey()


class Hash:
    """One HCRYPTHASH.

    Attributes:
        context: the context it was created with.
        algid: its algorithm.
        digest: the running hash; None for an HMAC until HP_HMAC_INFO names its hash.
        value: the value once finished, else None.
        key: the key of a MAC or HMAC, by reference.
        inner_algid: the hash inside an HMAC, else the same as `algid`.

    """

    __slots__ = ("algid", "context", "digest", "handle", "inner_algid", "key", "value")

    def __init__(
        self, context: Context, algid: int, digest: Digest | None, key: Key | None
    ) -> None:
        """Make a hash of nothing yet."""
        self.handle = 0
        self.context = context
        self.algid = algid
        self.inner_algid = algid
        self.digest = digest
        self.value: bytes | None = None
        self.key = key

    def __repr__(self) -> str:
        """Say which algorithm it is."""
        return f"<hash, algorithm {self.algid:#x}>"

    def copy(self) -> Hash:
        """Make an independent copy in the same state, without a handle; same MAC key."""
        twin = Hash(self.context, self.algid, self.digest and self.digest.copy(), self.key)
        twin.inner_algid = self.inner_algid
        twin.value = self.value
        return twin
