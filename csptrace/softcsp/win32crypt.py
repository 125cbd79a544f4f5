"""The pywin32 face: a module with the shape of pywin32's ``win32crypt``, for provider handles.

It has pywin32's functions and nothing else; the object types are reached with ``type(obj)``, as
there. Functions for certificates, stores and messages are not provided.
"""

from csptrace.softcsp.pyhandles import (
    CryptAcquireContext,
    CryptEnumProviders,
    CryptEnumProviderTypes,
    CryptGetDefaultProvider,
    CryptSetProviderEx,
)

__all__ = [
    "CryptAcquireContext",
    "CryptEnumProviderTypes",
    "CryptEnumProviders",
    "CryptGetDefaultProvider",
    "CryptSetProviderEx",
]

for _function in (
    CryptAcquireContext,
    CryptEnumProviderTypes,
    CryptEnumProviders,
    CryptGetDefaultProvider,
    CryptSetProviderEx,
):
    # As in pywin32, where they are this module's own; pickles refer to them by it.
    _function.__module__ = __name__
del _function
