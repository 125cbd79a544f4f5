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
        words: the cause.
        remedy: what to do.
    """

    leaks: int
    exit: str
    pattern: str
    function: str
    at: str
    skipped: tuple[tuple[str, str], ...]
    words: str
    remedy: str


EXPECTED: Final[dict[str, Expected]] = {
    "raised_here": Expected(
        1,
        "raised",
        "exception",
        "raised_here",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "raised_here() acquired it at line {acquired} and was left by Stop at line "
            "{left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "raised_below": Expected(
        1,
        "raised",
        "exception",
        "raised_below",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "raised_below() acquired it at line {acquired} and was left by Stop raised in "
            "fails() at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "raised_deeper": Expected(
        1,
        "raised",
        "exception",
        "raised_deeper",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "raised_deeper() acquired it at line {acquired} and was left by Stop raised in "
            "fails() at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "caught_above": Expected(
        1,
        "raised",
        "exception",
        "caught_above.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "hashing() acquired it at line {acquired} and was left by Stop raised in fails() "
            "at line {left} (caught in caught_above() at line {caught}); CryptDestroyHash at "
            "line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "caught_two_above": Expected(
        1,
        "raised",
        "exception",
        "caught_two_above.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "hashing() acquired it at line {acquired} and was left by Stop raised in fails() "
            "at line {left} (caught in caught_two_above() at line {caught}); CryptDestroyHash"
            " at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "another_from_the_handler": Expected(
        1,
        "raised",
        "exception",
        "another_from_the_handler",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "another_from_the_handler() acquired it at line {acquired} and was left by "
            "ValueError at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "program_ended": Expected(
        1,
        "raised",
        "exception",
        "program_ended",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "program_ended() acquired it at line {acquired} and was left by SystemExit at "
            "line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "on_its_way": Expected(
        1,
        "raised",
        "exception",
        "on_its_way",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "on_its_way() acquired it at line {acquired} and was left by Stop raised in "
            "fails() at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "inverted_check": Expected(
        1,
        "raised",
        "branch",
        "inverted_check",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "inverted_check() acquired it at line {acquired} and was left by Stop raised in "
            "fails() at line {left}; CryptDestroyHash at line {release} stands behind the "
            "condition at line {condition}, which was not met"
        ),
        (
            "call CryptDestroyHash (line {release}) whether or not the condition at line "
            "{condition} holds"
        ),
    ),
    "early_return": Expected(
        1,
        "returned",
        "early-return",
        "early_return",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "early_return() acquired it at line {acquired} and returned at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
    "return_from_a_loop": Expected(
        1,
        "returned",
        "early-return",
        "return_from_a_loop",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "return_from_a_loop() acquired it at line {acquired} and returned at line {left};"
            " CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
    "return_from_a_with": Expected(
        1,
        "returned",
        "early-return",
        "return_from_a_with",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "return_from_a_with() acquired it at line {acquired} and returned at line {left};"
            " CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
    "return_through_a_finally": Expected(
        1,
        "returned",
        "early-return",
        "return_through_a_finally",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "return_through_a_finally() acquired it at line {acquired} and returns at line "
            "{left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
    "condition_not_met": Expected(
        1,
        "returned",
        "branch",
        "condition_not_met",
        "condition",
        (("CryptDestroyHash", "release"),),
        (
            "condition_not_met() acquired it at line {acquired} and ran to its end at line "
            "{condition}; CryptDestroyHash at line {release} stands behind the condition at "
            "line {condition}, which was not met"
        ),
        (
            "call CryptDestroyHash on every path: begin a try after line {acquired} and move "
            "it (line {release}) into its finally"
        ),
    ),
    "only_in_the_handler": Expected(
        1,
        "returned",
        "branch",
        "only_in_the_handler",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "only_in_the_handler() acquired it at line {acquired} and returned at line "
            "{left}; CryptDestroyHash at line {release} stands in the handler at line "
            "{handler}, which was not entered"
        ),
        (
            "call CryptDestroyHash on every path: begin a try after line {acquired} and move "
            "it (line {release}) into its finally"
        ),
    ),
    "handler_goes_on": Expected(
        1,
        "returned",
        "branch",
        "handler_goes_on",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "handler_goes_on() acquired it at line {acquired} and ran to its end at line "
            "{left}; CryptDestroyHash at line {release} was passed by on the way to the "
            "handler at line {handler}"
        ),
        "call CryptDestroyHash on h before line {left} lets go of it",
    ),
    "after_the_context": Expected(
        1,
        "running",
        "order",
        "after_the_context",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "after_the_context() acquired it at line {acquired} and released the provider "
            "context at line {left}; CryptDestroyHash at line {release} comes after that, too late"
        ),
        "move CryptDestroyHash (line {release}) in front of line {left}",
    ),
    "never": Expected(
        1,
        "returned",
        "never-released",
        "never",
        "left",
        (),
        (
            "never() acquired it at line {acquired} and ran to its end at line {left}; no "
            "path of never() calls CryptDestroyHash"
        ),
        (
            "call CryptDestroyHash on h in never(): begin a try after line {acquired} and "
            "release in its finally"
        ),
    ),
    "other_handle_released": Expected(
        1,
        "returned",
        "never-released",
        "other_handle_released",
        "left",
        (),
        (
            "other_handle_released() acquired it at line {acquired} and ran to its end at "
            "line {left}; CryptDestroyHash at line {left} released another handle, not this one"
        ),
        (
            "call CryptDestroyHash on h in other_handle_released(): begin a try after line "
            "{acquired} and release in its finally"
        ),
    ),
    "thrown_away": Expected(
        1,
        "returned",
        "discarded",
        "thrown_away",
        "thrown",
        (),
        (
            "opened() acquired it at line {opened} and returned it to thrown_away(), which "
            "threw the result away at line {thrown}"
        ),
        "keep the result of line {thrown} and call CryptDestroyHash on it",
    ),
    "in_a_lambda": Expected(
        1,
        "returned",
        "branch",
        "in_a_lambda",
        "condition",
        (("CryptDestroyHash", "release"),),
        (
            "<lambda> acquired it at line {acquired}; in_a_lambda() ran to its end at line "
            "{condition}; CryptDestroyHash at line {release} stands behind the condition at "
            "line {condition}, which was not met"
        ),
        (
            "call CryptDestroyHash on every path: begin a try after line {got} and move it "
            "(line {release}) into its finally"
        ),
    ),
    "overwritten": Expected(
        1,
        "returned",
        "overwritten",
        "overwritten",
        "release",
        (("CryptDestroyHash", "release"),),
        (
            "overwritten() bound h to it at line {acquired}, and at line {second} to a second"
            " handle, while the first lived"
        ),
        (
            "call CryptDestroyHash on h (bound at line {acquired}) before line {second} binds"
            " it again, or use two variables"
        ),
    ),
    "rebound": Expected(
        1,
        "returned",
        "overwritten",
        "rebound",
        "release",
        (("CryptDestroyHash", "release"),),
        (
            "rebound() bound h to it at line {got}, and at line {second} to a second handle, "
            "while the first lived"
        ),
        (
            "call CryptDestroyHash on h (bound at line {got}) before line {second} binds it "
            "again, or use two variables"
        ),
    ),
    "overwritten_by_calls": Expected(
        1,
        "returned",
        "overwritten",
        "overwritten_by_calls.<locals>.begin",
        "acquired",
        (),
        (
            "h was bound to it at line {acquired} in begin(), and by the next call to a "
            "second handle, while the first lived"
        ),
        "call CryptDestroyHash on h before line {acquired} binds it again",
    ),
    "overwritten_in_an_object": Expected(
        1,
        "returned",
        "overwritten",
        "Digest.begin",
        "digest",
        (),
        (
            "self.h was bound to it at line {digest} in Digest.begin(), and by the next call "
            "to a second handle, while the first lived"
        ),
        "call CryptDestroyHash on self.h before line {digest} binds it again",
    ),
    "loop": Expected(
        2,
        "returned",
        "loop",
        "loop",
        "release",
        (("CryptDestroyHash", "release"),),
        (
            "loop() binds h anew at line {acquired} in each round of the loop at line {loop},"
            " one handle a round, while the one before still lives; 2 were not released; "
            "CryptDestroyHash at line {release} gets the last one only"
        ),
        (
            "call CryptDestroyHash on h before line {acquired} binds it again, in every round "
            "but the first"
        ),
    ),
    "while_loop": Expected(
        1,
        "returned",
        "loop",
        "while_loop",
        "release",
        (("CryptDestroyHash", "release"),),
        (
            "while_loop() binds h anew at line {got} in each round of the loop at line "
            "{loop}, one handle a round, while the one before still lives; CryptDestroyHash "
            "at line {release} gets the last one only"
        ),
        (
            "call CryptDestroyHash on h before line {got} binds it again, in every round "
            "but the first"
        ),
    ),
    "loop_into_a_list": Expected(
        2,
        "raised",
        "exception",
        "loop_into_a_list",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "loop_into_a_list() acquired it at line {acquired} and was left by Stop raised in"
            " fails() at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try in front of line {loop} and move CryptDestroyHash (lines {all} to "
            "{release}) into its finally, or use a context manager"
        ),
    ),
    "loop_of_two": Expected(
        2,
        "returned",
        "loop",
        "loop_of_two",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "loop_of_two() binds one anew at line {acquired} in each round of the loop at "
            "line {loop}, 2 handles a round, while the one before still lives; "
            "CryptDestroyHash at line {release} gets the last one only"
        ),
        (
            "call CryptDestroyHash on one before line {acquired} binds it again, in every round "
            "but the first"
        ),
    ),
    "returned_and_forgotten": Expected(
        1,
        "returned",
        "early-return",
        "returned_and_forgotten",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to "
            "returned_and_forgotten(), which returned at line {left}; CryptDestroyHash at "
            "line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "returned_twice": Expected(
        1,
        "raised",
        "exception",
        "returned_twice",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to through() and through()"
            " returned it to returned_twice(), which was left by Stop raised in fails() at "
            "line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {got} and move CryptDestroyHash (line {release}) into its"
            " finally, or use a context manager"
        ),
    ),
    "returned_as_number": Expected(
        1,
        "raised",
        "exception",
        "returned_as_number",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "number() acquired it at line {acquired} and returned it to returned_as_number(),"
            " which was left by Stop raised in fails() at line {left}; CryptDestroyHash at "
            "line {release} was never reached"
        ),
        (
            "begin a try after line {got} and move CryptDestroyHash (line {release}) into its"
            " finally, or use a context manager"
        ),
    ),
    "returned_in_a_tuple": Expected(
        1,
        "returned",
        "early-return",
        "returned_in_a_tuple",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "pair() acquired it at line {acquired} and returned it to returned_in_a_tuple(), "
            "which returned at line {left}; CryptDestroyHash at line {release} was never "
            "reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "returned_in_a_list": Expected(
        1,
        "raised",
        "exception",
        "returned_in_a_list",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to several() and several()"
            " returned it to returned_in_a_list(), which was left by Stop raised in fails() "
            "at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {got} and move CryptDestroyHash (lines {all} to {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "returned_in_a_dict": Expected(
        1,
        "returned",
        "early-return",
        "returned_in_a_dict",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to named() and named() "
            "returned it to returned_in_a_dict(), which returned at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "returned_in_an_object": Expected(
        1,
        "raised",
        "exception",
        "returned_in_an_object",
        "left",
        (("holder.close()", "release"),),
        (
            "make() acquired it at line {acquired} and returned it to "
            "returned_in_an_object(), which was left by Stop raised in fails() at line "
            "{left}; holder.close() at line {release} (it calls CryptDestroyHash) was never "
            "reached"
        ),
        (
            "begin a try after line {got} and move holder.close() (line {release}) into its "
            "finally, or use a context manager"
        ),
    ),
    "passed_as_parameter": Expected(
        1,
        "raised",
        "exception",
        "passed_as_parameter",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "fill() acquired it at line {acquired}; passed_as_parameter() was left by Stop "
            "raised in fails() at line {left}; CryptDestroyHash at line {release} was never "
            "reached"
        ),
        (
            "begin a try after line {got} and move CryptDestroyHash (line {release}) into its"
            " finally, or use a context manager"
        ),
    ),
    "generator_suspended": Expected(
        1,
        "suspended",
        "suspended",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
        (
            "blocks() acquired it at line {blocks} and was left suspended at line "
            "{blocks_yields}; CryptDestroyHash at line {blocks_releases} was not reached"
        ),
        (
            "begin a try after line {blocks}, move CryptDestroyHash (line {blocks_releases}) "
            "into its finally, and exhaust or close blocks() before the provider context is "
            "released at play.py:{played}"
        ),
    ),
    "generator_closed": Expected(
        1,
        "closed",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
        (
            "blocks() acquired it at line {blocks} and was closed at line {blocks_yields}; "
            "CryptDestroyHash at line {blocks_releases} was never reached"
        ),
        (
            "begin a try after line {blocks} and move CryptDestroyHash (line "
            "{blocks_releases}) into its finally, or use a context manager"
        ),
    ),
    "generator_dropped": Expected(
        1,
        "closed",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
        (
            "blocks() acquired it at line {blocks} and was closed at line {blocks_yields}; "
            "CryptDestroyHash at line {blocks_releases} was never reached"
        ),
        (
            "begin a try after line {blocks} and move CryptDestroyHash (line "
            "{blocks_releases}) into its finally, or use a context manager"
        ),
    ),
    "generator_thrown_into": Expected(
        1,
        "raised",
        "exception",
        "blocks",
        "blocks_yields",
        (("CryptDestroyHash", "blocks_releases"),),
        (
            "blocks() acquired it at line {blocks} and was left by Stop at line "
            "{blocks_yields}; CryptDestroyHash at line {blocks_releases} was never reached"
        ),
        (
            "begin a try after line {blocks} and move CryptDestroyHash (line "
            "{blocks_releases}) into its finally, or use a context manager"
        ),
    ),
    "generator_returns": Expected(
        1,
        "returned",
        "never-released",
        "generator_returns.<locals>.forgetful",
        "left",
        (),
        (
            "forgetful() acquired it at line {acquired} and ran to its end at line {left}; no"
            " path of forgetful() calls CryptDestroyHash"
        ),
        (
            "call CryptDestroyHash on h in forgetful(): begin a try after line {acquired} and"
            " release in its finally"
        ),
    ),
    "yielded_to_a_loop": Expected(
        1,
        "returned",
        "early-return",
        "yielded_to_a_loop",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to hashes() and hashes() "
            "yielded it to yielded_to_a_loop(), which returned at line {left}; "
            "CryptDestroyHash at line {release} was not reached after that"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "generator_expression": Expected(
        1,
        "raised",
        "exception",
        "generator_expression",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to <genexpr> and <genexpr>"
            " yielded it to generator_expression(), which was left by Stop raised in fails() "
            "at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {got} and move CryptDestroyHash (line {release}) into its"
            " finally, or use a context manager"
        ),
    ),
    "context_manager": Expected(
        1,
        "raised",
        "exception",
        "hashing",
        "hashing_yields",
        (("CryptDestroyHash", "hashing_releases"),),
        (
            "hashing() acquired it at line {hashing} and was left by Stop raised in fails() "
            "at line {hashing_yields}; CryptDestroyHash at line {hashing_releases} was never "
            "reached"
        ),
        (
            "begin a try after line {hashing} and move CryptDestroyHash (line "
            "{hashing_releases}) into its finally, or use a context manager"
        ),
    ),
    "given_context_manager": Expected(
        1,
        "returned",
        "never-released",
        "given_context_manager",
        "got",
        (),
        (
            "opened() acquired it at line {opened} and returned it to giving() and giving() "
            "yielded it to given_context_manager(), which ran to its end at line {got}; no path "
            "of given_context_manager() calls CryptDestroyHash"
        ),
        (
            "call CryptDestroyHash on h in given_context_manager(): begin a try after line {got} "
            "and release in its finally"
        ),
    ),
    "careless_context_manager": Expected(
        1,
        "returned",
        "never-released",
        "careless_context_manager",
        "got",
        (),
        (
            "opened() acquired it at line {opened} and returned it to Careless.__enter__() "
            "and Careless.__enter__() returned it to careless_context_manager(), which ran to"
            " its end at line {got}; no path of careless_context_manager() calls "
            "CryptDestroyHash"
        ),
        (
            "call CryptDestroyHash on h in careless_context_manager(): begin a try after line"
            " {got} and release in its finally"
        ),
    ),
    "cancelled": Expected(
        1,
        "cancelled",
        "exception",
        "waits",
        "waits_here",
        (("CryptDestroyHash", "waits_releases"),),
        (
            "waits() acquired it at line {waits} and was cancelled at line {waits_here}; "
            "CryptDestroyHash at line {waits_releases} was never reached"
        ),
        (
            "begin a try after line {waits} and move CryptDestroyHash (line {waits_releases})"
            " into its finally, or use a context manager"
        ),
    ),
    "timed_out": Expected(
        1,
        "cancelled",
        "exception",
        "waits",
        "waits_here",
        (("CryptDestroyHash", "waits_releases"),),
        (
            "waits() acquired it at line {waits} and was cancelled at line {waits_here}; "
            "CryptDestroyHash at line {waits_releases} was never reached"
        ),
        (
            "begin a try after line {waits} and move CryptDestroyHash (line {waits_releases})"
            " into its finally, or use a context manager"
        ),
    ),
    "coroutine_raises": Expected(
        1,
        "raised",
        "exception",
        "coroutine_raises.<locals>.main",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "main() acquired it at line {acquired} and was left by Stop raised in failing() "
            "at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "coroutine_suspended": Expected(
        1,
        "suspended",
        "suspended",
        "coroutine_suspended.<locals>.stuck",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "stuck() acquired it at line {acquired} and was left suspended at line {left}; "
            "CryptDestroyHash at line {release} was not reached"
        ),
        (
            "begin a try after line {acquired}, move CryptDestroyHash (line {release}) into "
            "its finally, and await stuck(), or cancel and await it, before the provider "
            "context is released at play.py:{played}"
        ),
    ),
    "coroutine_returns": Expected(
        1,
        "returned",
        "early-return",
        "coroutine_returns.<locals>.main",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to make() and make() "
            "returned it to main(), which returned at line {left}; CryptDestroyHash at line "
            "{release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "asynchronous_generator": Expected(
        1,
        "closed",
        "exception",
        "asynchronous_generator.<locals>.numbers",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "numbers() acquired it at line {acquired} and was closed at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "kept_in_an_object": Expected(
        1,
        "returned",
        "stored",
        "Owner.__init__",
        "owner",
        (),
        (
            "Owner.__init__() acquired it at line {owner} and ran to its end at line {owner};"
            " it was kept in self.h (line {owner}), which outlives Owner.__init__(), and "
            "close() did not come to line {owner_closes}, which releases it"
        ),
        (
            "see that Owner.close() is called when the object is not needed any more, in a "
            "finally or by a with"
        ),
    ),
    "kept_in_a_list": Expected(
        1,
        "returned",
        "stored",
        "kept_in_a_list",
        "kept",
        (),
        (
            "kept_in_a_list() acquired it at line {acquired} and ran to its end at line "
            "{kept}; it was kept in kept (line {kept}), which outlives kept_in_a_list()"
        ),
        (
            "call CryptDestroyHash on kept when its owner is done with it: give the owner a "
            "close(), and call that in a finally"
        ),
    ),
    "kept_in_a_table": Expected(
        1,
        "returned",
        "stored",
        "kept_in_a_table",
        "kept",
        (),
        (
            "opened() acquired it at line {opened} and returned it to kept_in_a_table(), "
            "which ran to its end at line {kept}; it was kept in table[...] (line {kept}), which"
            " outlives kept_in_a_table()"
        ),
        (
            "call CryptDestroyHash on table[...] when its owner is done with it: give the "
            "owner a close(), and call that in a finally"
        ),
    ),
    "kept_in_a_global": Expected(
        1,
        "returned",
        "stored",
        "kept_in_a_global",
        "acquired",
        (),
        (
            "kept_in_a_global() acquired it at line {acquired} and ran to its end at line "
            "{acquired}; it was kept in shared (line {acquired}), which outlives "
            "kept_in_a_global()"
        ),
        (
            "call CryptDestroyHash on shared when its owner is done with it: give the owner a"
            " close(), and call that in a finally"
        ),
    ),
    "object_raised": Expected(
        1,
        "raised",
        "exception",
        "object_raised",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "object_raised() acquired it at line {acquired} and was left by Stop raised in "
            "fails() at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "object_returned": Expected(
        1,
        "running",
        "order",
        "object_returned",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "make() acquired it at line {acquired} and returned it to object_returned(), "
            "which released the provider context at line {left}; CryptDestroyHash at line "
            "{release} comes after that, too late"
        ),
        "move CryptDestroyHash (line {release}) in front of line {left}",
    ),
    "object_dropped": Expected(
        1,
        "running",
        "never-released",
        "object_dropped",
        "left",
        (),
        (
            "object_dropped() acquired it at line {acquired} and let go of it at line {left};"
            " no path of object_dropped() calls CryptDestroyHash"
        ),
        "call CryptDestroyHash on h before line {left} lets go of it",
    ),
    "recursion": Expected(
        1,
        "returned",
        "early-return",
        "recursion",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "recursion() acquired it at line {acquired} and returned at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
    "nested": Expected(
        1,
        "returned",
        "early-return",
        "nested",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "begin() acquired it at line {acquired}; nested() returned at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {got} and move it (line {release}) into its finally"
        ),
    ),
    "in_a_thread": Expected(
        1,
        "raised",
        "exception",
        "in_a_thread.<locals>.work",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "work() acquired it at line {acquired} and was left by Stop raised in fails() at "
            "line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        (
            "begin a try after line {acquired} and move CryptDestroyHash (line {release}) "
            "into its finally, or use a context manager"
        ),
    ),
    "out_of_a_thread": Expected(
        1,
        "handed-on",
        "handed-on",
        "opened",
        "opened_returns",
        (),
        (
            "opened() acquired it at line {opened} and returned it at line {opened_returns} "
            "to Thread.run(), where it was not released"
        ),
        (
            "opened() hands the handle to Thread.run(), which is not your code: call "
            "CryptDestroyHash before it returns, or hand the handle over in another way"
        ),
    ),
    "released_by_a_helper": Expected(
        1,
        "raised",
        "exception",
        "released_by_a_helper",
        "left",
        (("dispose(h)", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to released_by_a_helper(),"
            " which was left by Stop raised in fails() at line {left}; dispose(h) at line "
            "{release} (it calls CryptDestroyHash) was never reached"
        ),
        (
            "begin a try after line {got} and move dispose(h) (line {release}) into its "
            "finally, or use a context manager"
        ),
    ),
    "under_another_name": Expected(
        1,
        "raised",
        "exception",
        "under_another_name",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to under_another_name(), "
            "which was left by Stop raised in fails() at line {left}; CryptDestroyHash at "
            "line {release} was never reached"
        ),
        (
            "begin a try after line {copied} and move CryptDestroyHash (line {release}) into its"
            " finally, or use a context manager"
        ),
    ),
    "walrus": Expected(
        1,
        "returned",
        "early-return",
        "walrus",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "opened() acquired it at line {opened} and returned it to walrus(), which "
            "returned at line {left}; CryptDestroyHash at line {release} was never reached"
        ),
        "call CryptDestroyHash before the return at line {left} too",
    ),
    "half_of_a_pair": Expected(
        1,
        "returned",
        "never-released",
        "half_of_a_pair",
        "left",
        (),
        (
            "opened() acquired it at line {opened} and returned it to pair() and pair() returned "
            "it to half_of_a_pair(), which ran to its end at line {left}; CryptDestroyHash at line "
            "{release} released what came together with it, not this one"
        ),
        (
            "release all that comes at line {got}, and not only what CryptDestroyHash at line "
            "{release} gets"
        ),
    ),
    "every_other_time": Expected(
        1,
        "returned",
        "early-return",
        "every_other_time.<locals>.hashing",
        "left",
        (("CryptDestroyHash", "release"),),
        (
            "hashing() acquired it at line {acquired} and returned at line {left}; "
            "CryptDestroyHash at line {release} was never reached"
        ),
        (
            "call CryptDestroyHash before the return at line {left} too, or begin a try after"
            " line {acquired} and move it (line {release}) into its finally"
        ),
    ),
}
