"""Settles the day's payments."""

import time
from collections.abc import Iterable

from payments.provider import api, check
from payments.rules import RuleError, Rules
from payments.signing import Signer


def settle(batch: Iterable[bytes], rules: Rules) -> None:
    """Sign and encrypt one batch."""
    signer = Signer("settlement")
    try:
        for payment in batch:
            digest = signer.digest(payment)
            if payment.startswith(b"void"):
                continue  # the digest stays behind
            key = signer.session_key(rules)
            time.sleep(len(payment) / 5000)
            check(api.CryptDestroyHash(digest))
            check(api.CryptDestroyKey(key))
    finally:
        signer.close()


def main(queue: Iterable[list[bytes]], rules: Rules) -> None:
    """Settle until the queue is empty."""
    for batch in queue:
        try:
            settle(batch, rules)
        except RuleError:
            continue  # the next batch may be better
