"""A helper of the program `hidden_in_a_helper_of_another_file`."""

from opening import lib


def maybe_destroy(key, *, wanted):
    if wanted:
        lib.CryptDestroyKey(key)
