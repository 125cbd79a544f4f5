"""Keeps a trail of what was settled."""

import time
from collections.abc import Iterable
from ctypes import byref, c_void_p

from payments.provider import api, check
from payments.signing import Signer


class Trail:
    """A chain of digests, each over the one before."""

    def __init__(self) -> None:
        """Begin a trail."""
        self.signer = Signer("audit")
        self.sealed: list[c_void_p] = []

    def seal(self, entry: bytes) -> None:
        """Add an entry."""
        digest = self.signer.digest(entry)
        copy = c_void_p()
        check(api.CryptDuplicateHash(digest, None, 0, byref(copy)))
        check(api.CryptDestroyHash(digest))
        if entry.startswith(b"void"):
            self.sealed.append(copy)  # kept for ever
        else:
            check(api.CryptDestroyHash(copy))

    def last(self) -> c_void_p:
        """Return the digest that was sealed last."""
        return self.sealed[-1]


def main(entries: Iterable[bytes]) -> None:
    """Seal entries until there are no more."""
    trail = Trail()
    for entry in entries:
        trail.seal(entry)
        time.sleep(len(entry) / 4000)
    check(api.CryptDestroyHash(trail.last()))
    check(api.CryptHashData(trail.last(), b"end", 3, 0))
