"""Authenticates what partners send."""

# ruff: noqa: ANN001, ANN201, ANN204

from payments.provider import api, check
from payments.signing import Signer

_cache = {}


def authenticate(partner, body):
    """Check the message authentication code of a request."""
    signer = _cache.setdefault(partner, Signer(partner))
    key = signer.session_key(partner.rules)
    mac = signer.digest(body, key)
    check(api.CryptDestroyKey(key))
    check(api.CryptHashData(mac, b"\n", 1, 0))
    return mac


async def receive(request):
    """Answer one request."""
    mac = authenticate(request.partner, await request.body())
    return {"valid": request.matches(mac)}


def rotate(partner):
    """Forget a partner's context."""
    signer = _cache[partner]
    signer.close()
    signer.close()
