"""Authenticates what partners send."""

import time
from collections.abc import Iterable
from ctypes import c_void_p

from payments.provider import ProviderError, api, check
from payments.rules import RuleError, Rules
from payments.signing import Signer

_cache: dict[str, Signer] = {}


def authenticate(partner: str, body: bytes, rules: Rules) -> c_void_p:
    """Check the message authentication code of a request."""
    signer = _cache.get(partner) or _cache.setdefault(partner, Signer(partner))
    key = signer.session_key(rules)
    mac = signer.mac(body, key)
    if len(body) < 8:
        check(api.CryptDestroyKey(key))  # too early: the code is not finished
    check(api.CryptHashData(mac, b"\n", 1, 0))
    check(api.CryptDestroyHash(mac))
    if len(body) >= 8:
        check(api.CryptDestroyKey(key))
    return mac


def rotate(partner: str) -> None:
    """Forget a partner's context."""
    signer = _cache.pop(partner)
    signer.close()
    signer.close()


def main(requests: Iterable[tuple[str, bytes]], rules: Rules) -> None:
    """Answer requests until there are no more."""
    for number, (partner, body) in enumerate(requests):
        try:
            authenticate(partner, body, rules)
            if number % 24 == 23:
                rotate(partner)
        except (RuleError, ProviderError):
            continue  # the partner is told to try again
        finally:
            time.sleep(len(body) / 8000)
