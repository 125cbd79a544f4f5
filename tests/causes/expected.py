"""What each function of leaks.py must be told to have leaked for: data only."""

from __future__ import annotations

from typing import Final, NamedTuple


class Expected(NamedTuple):
    """What is said of one function; `{mark}` stands for the line with that mark.

    Attributes:
        leaks: how many handles leak, for the same reason; the rest tells of the first.
        exit: how the responsible function was left.
        pattern: why the release was missed.
        function: the qualified name of the responsible function.
        at: the mark of the line at which it was left.
        skipped: the releases that were not reached, as call and mark.
    """

    leaks: int
    exit: str
    pattern: str
    function: str
    at: str
    skipped: tuple[tuple[str, str], ...]


EXPECTED: Final[dict[str, Expected]] = {
    "raised_here": Expected(
        1, "raised", "exception", "raised_here", "left", (("CryptDestroyHash", "release"),)
    ),
    "raised_below": Expected(
        1, "raised", "exception", "raised_below", "left", (("CryptDestroyHash", "release"),)
    ),
    "raised_deeper": Expected(
        1, "raised", "exception", "raised_deeper", "left", (("CryptDestroyHash", "release"),)
    ),
    "caught_above": Expected(
        1,
        "raised",
        "exception",
        "caught_above.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "caught_two_above": Expected(
        1,
        "raised",
        "exception",
        "caught_two_above.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "another_from_the_handler": Expected(
        1,
        "raised",
        "exception",
        "another_from_the_handler",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "program_ended": Expected(
        1, "raised", "exception", "program_ended", "left", (("CryptDestroyHash", "release"),)
    ),
    "on_its_way": Expected(
        1, "raised", "exception", "on_its_way", "left", (("CryptDestroyHash", "release"),)
    ),
    "inverted_check": Expected(
        1, "raised", "branch", "inverted_check", "left", (("CryptDestroyHash", "release"),)
    ),
    "early_return": Expected(
        1, "returned", "early-return", "early_return", "left", (("CryptDestroyHash", "release"),)
    ),
    "return_from_a_loop": Expected(
        1,
        "returned",
        "early-return",
        "return_from_a_loop",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "return_from_a_with": Expected(
        1,
        "returned",
        "early-return",
        "return_from_a_with",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "return_through_a_finally": Expected(
        1,
        "returned",
        "early-return",
        "return_through_a_finally",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "condition_not_met": Expected(
        1,
        "returned",
        "branch",
        "condition_not_met",
        "condition",
        (("CryptDestroyHash", "release"),),
    ),
    "only_in_the_handler": Expected(
        1, "returned", "branch", "only_in_the_handler", "left", (("CryptDestroyHash", "release"),)
    ),
    "handler_goes_on": Expected(
        1, "returned", "branch", "handler_goes_on", "left", (("CryptDestroyHash", "release"),)
    ),
    "after_the_context": Expected(
        1, "running", "order", "after_the_context", "left", (("CryptDestroyHash", "release"),)
    ),
    "never": Expected(1, "returned", "never-released", "never", "left", ()),
    "other_handle_released": Expected(
        1, "returned", "never-released", "other_handle_released", "left", ()
    ),
    "thrown_away": Expected(1, "returned", "discarded", "thrown_away", "thrown", ()),
    "in_a_lambda": Expected(
        1, "returned", "branch", "in_a_lambda", "condition", (("CryptDestroyHash", "release"),)
    ),
    "overwritten": Expected(
        1, "returned", "overwritten", "overwritten", "release", (("CryptDestroyHash", "release"),)
    ),
    "rebound": Expected(
        1, "returned", "overwritten", "rebound", "release", (("CryptDestroyHash", "release"),)
    ),
    "overwritten_by_calls": Expected(
        1, "returned", "overwritten", "overwritten_by_calls.<locals>.begin", "acquired", ()
    ),
    "overwritten_in_an_object": Expected(
        1, "returned", "overwritten", "Digest.begin", "digest", ()
    ),
    "loop": Expected(2, "returned", "loop", "loop", "release", (("CryptDestroyHash", "release"),)),
    "while_loop": Expected(
        1, "returned", "loop", "while_loop", "release", (("CryptDestroyHash", "release"),)
    ),
    "loop_into_a_list": Expected(
        2, "raised", "exception", "loop_into_a_list", "left", (("CryptDestroyHash", "release"),)
    ),
    "loop_of_two": Expected(
        2, "returned", "loop", "loop_of_two", "left", (("CryptDestroyHash", "release"),)
    ),
    "returned_and_forgotten": Expected(
        1,
        "returned",
        "early-return",
        "returned_and_forgotten",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "returned_twice": Expected(
        1, "raised", "exception", "returned_twice", "left", (("CryptDestroyHash", "release"),)
    ),
    "returned_as_number": Expected(
        1, "raised", "exception", "returned_as_number", "left", (("CryptDestroyHash", "release"),)
    ),
    "returned_in_a_tuple": Expected(
        1,
        "returned",
        "early-return",
        "returned_in_a_tuple",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "returned_in_a_list": Expected(
        1, "raised", "exception", "returned_in_a_list", "left", (("CryptDestroyHash", "release"),)
    ),
    "returned_in_a_dict": Expected(
        1,
        "returned",
        "early-return",
        "returned_in_a_dict",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "returned_in_an_object": Expected(
        1, "raised", "exception", "returned_in_an_object", "left", (("holder.close()", "release"),)
    ),
    "passed_as_parameter": Expected(
        1, "raised", "exception", "passed_as_parameter", "left", (("CryptDestroyHash", "release"),)
    ),
    "generator_suspended": Expected(
        1,
        "suspended",
        "suspended",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
    ),
    "generator_closed": Expected(
        1,
        "closed",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
    ),
    "generator_dropped": Expected(
        1,
        "closed",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
    ),
    "generator_thrown_into": Expected(
        1,
        "raised",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
    ),
    "generator_returns": Expected(
        1, "returned", "never-released", "generator_returns.<locals>.forgetful", "left", ()
    ),
    "yielded_to_a_loop": Expected(
        1,
        "returned",
        "early-return",
        "yielded_to_a_loop",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "generator_expression": Expected(
        1, "raised", "exception", "generator_expression", "left", (("CryptDestroyHash", "release"),)
    ),
    "context_manager": Expected(
        1,
        "raised",
        "exception",
        "hashing",
        "hashing_yields",
        (("CryptDestroyHash", "hashing_releases"),),
    ),
    "given_context_manager": Expected(
        1, "returned", "never-released", "given_context_manager", "got", ()
    ),
    "careless_context_manager": Expected(
        1, "handed-on", "stored", "Careless.__enter__", "lent", ()
    ),
    "cancelled": Expected(
        1,
        "cancelled",
        "exception",
        "waits",
        "waits_here",
        (("CryptDestroyHash", "waits_releases"),),
    ),
    "timed_out": Expected(
        1,
        "cancelled",
        "exception",
        "waits",
        "waits_here",
        (("CryptDestroyHash", "waits_releases"),),
    ),
    "coroutine_raises": Expected(
        1,
        "raised",
        "exception",
        "coroutine_raises.<locals>.main",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "coroutine_suspended": Expected(
        1,
        "suspended",
        "suspended",
        "coroutine_suspended.<locals>.stuck",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "coroutine_returns": Expected(
        1,
        "returned",
        "early-return",
        "coroutine_returns.<locals>.main",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "asynchronous_generator": Expected(
        1,
        "closed",
        "exception",
        "asynchronous_generator.<locals>.numbers",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "kept_in_an_object": Expected(1, "returned", "stored", "Owner.__init__", "owner", ()),
    "kept_in_a_list": Expected(1, "returned", "stored", "kept_in_a_list", "kept", ()),
    "kept_in_a_table": Expected(1, "returned", "stored", "kept_in_a_table", "kept", ()),
    "kept_in_a_global": Expected(1, "returned", "stored", "kept_in_a_global", "acquired", ()),
    "object_raised": Expected(
        1, "raised", "exception", "object_raised", "left", (("CryptDestroyHash", "release"),)
    ),
    "object_returned": Expected(
        1, "running", "order", "object_returned", "left", (("CryptDestroyHash", "release"),)
    ),
    "object_dropped": Expected(1, "running", "never-released", "object_dropped", "left", ()),
    "recursion": Expected(
        1, "returned", "early-return", "recursion", "left", (("CryptDestroyHash", "release"),)
    ),
    "nested": Expected(
        1, "returned", "early-return", "nested", "left", (("CryptDestroyHash", "release"),)
    ),
    "in_a_thread": Expected(
        1,
        "raised",
        "exception",
        "in_a_thread.<locals>.work",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
    "out_of_a_thread": Expected(1, "handed-on", "handed-on", "opened", "opened_returns", ()),
    "released_by_a_helper": Expected(
        1, "raised", "exception", "released_by_a_helper", "left", (("dispose(h)", "release"),)
    ),
    "under_another_name": Expected(
        1, "raised", "exception", "under_another_name", "left", (("CryptDestroyHash", "release"),)
    ),
    "walrus": Expected(
        1, "returned", "early-return", "walrus", "left", (("CryptDestroyHash", "release"),)
    ),
    "half_of_a_pair": Expected(1, "returned", "never-released", "half_of_a_pair", "left", ()),
    "every_other_time": Expected(
        1,
        "returned",
        "early-return",
        "every_other_time.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
    ),
}
