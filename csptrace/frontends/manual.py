"""What each command's `--help` says: what it does, two examples, and what its exit status means."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MANUAL", "Page"]


class Page(NamedTuple):
    """The help of one command.

    Attributes:
        summary: what it does, in one line.
        text: what else one has to know, as lines; empty if nothing.
        examples: command lines, each with what it is for.
        statuses: exit status, and what it means.
    """

    summary: str
    text: str
    examples: tuple[tuple[str, str], ...]
    statuses: tuple[tuple[str, str], ...]

    def description(self) -> str:
        """Return what stands above the options."""
        return "\n\n".join(filter(None, (f"{self.summary}.", self.text)))

    def epilog(self) -> str:
        """Return what stands below the options."""
        width = max(len(status) for status, _ in self.statuses)
        return "\n".join(
            (
                "examples:",
                *(f"  {line}\n      {purpose}" for line, purpose in self.examples),
                "",
                "exit status:",
                *(f"  {status:<{width}}  {meaning}" for status, meaning in self.statuses),
            )
        )


_INTERRUPTED: Final = ("130", "it was stopped with Ctrl-C")
_NOTHING: Final = ("2", "there was nothing to read, or the command line is wrong")

MANUAL: Final[dict[str, Page]] = {
    "run": Page(
        "Trace a program and the Python processes that it starts",
        "The program sees its own arguments. Findings go to stderr and, with --log, to an event "
        "log.\nOptions of csptrace stand in front of the program, its own behind it.",
        (
            ("csptrace run service.py --port 8080", "findings on stderr, misuse raises"),
            (
                "csptrace run --log logs --on-misuse log -m my.service",
                "for a service: nothing is raised, and everything is kept for `csptrace report`",
            ),
        ),
        (
            ("the program's own", "whatever was found"),
            ("--exit-code", "there were findings, and the program itself ended with 0"),
            ("2", "the command line or a setting is wrong"),
        ),
    ),
    "demo": Page(
        "Run a signing service that makes the usual mistakes, and show what is found",
        "It runs on the embedded software CSP, in a few seconds. Its key container is made in a\n"
        "temporary folder and removed again; the event log stays. With --api pkcs11 the service "
        "keeps\nits keys on a token of SoftHSM, which has to be installed; that token is made in "
        "a temporary\nfolder, too.",
        (
            ("csptrace demo", "CryptoAPI, on the embedded software CSP"),
            ("csptrace demo --api pkcs11 --log logs", "PKCS#11, with its event log in ./logs"),
        ),
        (("0", "exactly the planted mistakes were found"), ("1", "otherwise")),
    ),
    "doctor": Page(
        "Say what is active, what is patched, what is pending and why, and prove it works",
        "The proof is a canary: a handle that is leaked on purpose, of a provider of csptrace's "
        "own, and\nhas to be caught.",
        (
            ("csptrace doctor", "in the environment of the program that seems not to be traced"),
            ("csptrace doctor --json", "for programs"),
        ),
        (("0", "the canary was caught and nothing is wrong"), ("1", "otherwise")),
    ),
    "specs": Page(
        "List the APIs, functions and bindings that are covered",
        "",
        (
            ("csptrace specs", "all of them"),
            ("csptrace specs pkcs11 --json", "one, with what each function does to handles"),
        ),
        (("0", "always"), ("2", "there is no such API")),
    ),
    "report": Page(
        "Turn the logs of traced processes into answers",
        "Reads event logs (JSON lines, plain, gzip or zstd; Parquet from `csptrace compact`) of "
        "any\nnumber of runs and hosts. What cannot be read is counted and named, never left out "
        "silently.\nAnswers for unchanged logs are kept in a cache, so that asking again is quick.",
        (
            ("csptrace report logs", "in the terminal"),
            ("csptrace report 'hosts/*/logs' --format html -o leaks.html", "one page to explore"),
        ),
        (("0", "whatever was found"), _NOTHING, _INTERRUPTED),
    ),
    "compare": Page(
        "Say which findings are new, fixed, grown or shrunk",
        "Findings are told apart by fingerprint, which stays the same on other machines and when "
        "lines\nmove.",
        (
            ("csptrace compare main-logs branch-logs", "what a branch has made worse, or better"),
            ("csptrace compare old new --per-run", "of different numbers of runs"),
        ),
        (
            ("0", "nothing got worse"),
            ("1", "a finding (other than information) is new or grown"),
            _NOTHING,
            _INTERRUPTED,
        ),
    ),
    "baseline": Page(
        "Write the findings in some logs into a baseline file, or update one",
        "The pytest plugin accepts what is in the baseline and reports what is new. Reasons and "
        "dates\nthat somebody has written into the file are kept. Give it the logs of one whole "
        "session: the\ncounts are what one session may show. If an entry would go because of logs "
        "that are damaged or\nincomplete, nothing is written.",
        (
            (
                "pytest --csptrace-soft --csptrace-log logs && csptrace baseline logs",
                "accept what there is now, and fail what comes",
            ),
            ("csptrace baseline logs --keep-unseen", "add what a part of the tests shows"),
        ),
        (
            ("0", "it is written"),
            ("2", "there was nothing to read, or the file cannot be written"),
            _INTERRUPTED,
        ),
    ),
    "compact": Page(
        "Convert logs to Parquet, partitioned by date and host",
        "The result is about a thirtieth of the size and is read by `csptrace report` like the "
        "logs\nthemselves. Doing it again adds what is new; an archive never loses an event, "
        "whatever has\nbecome of the log. Logs stay where they are unless --delete-logs is given, "
        "and even then while\ntheir process may still run or something in them is not in the "
        "archive.",
        (
            ("csptrace compact logs -o archive", "add what is new"),
            ("csptrace compact logs -o archive --delete-logs", "and tidy up what is over"),
        ),
        (
            ("0", "everything is in the archive"),
            ("1", "a log, or a part of one, could not be converted"),
            ("2", "there was no log, or the command line is wrong"),
            _INTERRUPTED,
        ),
    ),
    "watch": Page(
        "Follow running processes: live handles by kind, and the newest findings",
        "Reads the event logs in a folder as they are written, until Ctrl-C.",
        (
            ("csptrace watch logs", "until Ctrl-C"),
            ("csptrace watch logs --once", "how things stand, as plain text"),
        ),
        (("0", "it has ended, also by Ctrl-C"), ("2", "the folder does not exist")),
    ),
    "guide": Page(
        "Show a page of the guide, or the table of its topics",
        "The guide ships with the package: tutorials, how-tos, reference and explanation. Each "
        "finding\nhas a page of its own, whose topic is the finding's code.",
        (
            ("csptrace guide", "the topics"),
            ("csptrace guide leaked-at-release", "what this finding means and how to mend it"),
        ),
        (("0", "it is shown"), ("2", "there is no such topic")),
    ),
}
