"""A day's work of one process, in a few seconds."""

import random
from contextlib import suppress
from ctypes import byref, c_void_p

from payments import audit, settlement, webhooks
from payments.provider import CRYPT_NEWKEYSET, ProviderError, api
from payments.rules import Rules

PARTNERS = ("north", "south", "west")


def main(role: str, seed: str) -> None:
    """Do the work of one role.

    Args:
        role: `settlement`, `webhooks` or `audit`.
        seed: makes one day differ from another.
    """
    chance = random.Random(seed)
    for container in ("settlement", "audit", *PARTNERS):
        context = c_void_p()
        if api.CryptAcquireContextW(byref(context), container, None, 24, CRYPT_NEWKEYSET):
            api.CryptReleaseContext(context, 0)
    rules = Rules(chance, failing=0.03)
    texts = [chance.choice((b"void", b"pay", b"pay")) * chance.randrange(1, 40) for _ in range(260)]
    if role == "settlement":
        settlement.main([texts[at : at + 13] for at in range(0, len(texts), 13)], rules)
    elif role == "webhooks":
        webhooks.main([(chance.choice(PARTNERS), text) for text in texts], rules)
    else:
        with suppress(ProviderError):
            audit.main(texts)
