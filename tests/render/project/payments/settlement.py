"""Settles the day's payments."""

# ruff: noqa: ANN001, ANN201, ANN204

from payments.provider import api, check
from payments.signing import Signer


def settle(batch, rules):
    """Sign and encrypt one batch."""
    signer = Signer("settlement")
    try:
        for payment in batch:
            key = signer.session_key(rules)
            digest = signer.digest(payment.encoded())
            if payment.is_void():
                continue
            payment.seal(key, digest)
            check(api.CryptDestroyHash(digest))
            check(api.CryptDestroyKey(key))
    finally:
        signer.close()


def main(queue, rules):
    """Settle until the queue is empty."""
    for batch in queue:
        settle(batch, rules)
