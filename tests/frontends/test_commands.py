"""The other commands: demo, doctor, specs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
import required

import csptrace
from csptrace.examples import signing_service
from csptrace.frontends import cli, doctor
from csptrace.frontends.manual import MANUAL

if TYPE_CHECKING:
    from pathlib import Path


def test_demo_finds_exactly_the_planted_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo shows its findings and says where the log is."""
    status = cli.main(["demo", "--log", str(tmp_path)])
    (log,) = tmp_path.glob("*.jsonl")
    out, err = capsys.readouterr()
    codes = [
        event["code"]
        for event in map(json.loads, log.read_text("utf-8").splitlines())
        if event["event"] == "csptrace.finding"
    ]

    assert status == 0
    assert sorted(codes) == sorted(signing_service.MISTAKES)
    assert str(log) in out
    assert "All 7 planted mistakes were found, and nothing else." in out
    assert "4 of 5 handles acquired there were released" in err


def test_demo_on_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --api pkcs11 the demo runs on a token that it makes and removes again."""
    if not shutil.which("softhsm2-util"):
        required.missing("softhsm", "SoftHSM is not installed (Debian: softhsm2)")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cli.main(["demo", "--api", "pkcs11", "--log", str(tmp_path / "logs")]) == 0
    out, err = capsys.readouterr()
    assert "All 8 planted mistakes were found, and nothing else." in out
    assert "CK_SESSION_HANDLE" in err
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert "SOFTHSM2_CONF" not in os.environ


def test_demo_without_a_token_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without SoftHSM the error names the package."""
    monkeypatch.setattr("csptrace.examples.demos.pkcs11._SOFTHSM", ())

    assert cli.main(["demo", "--api", "pkcs11"]) == 2
    assert "apt-get install softhsm2" in capsys.readouterr().err


def test_demo_says_so_when_a_mistake_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demo that does not find what was planted ends with status 1."""
    monkeypatch.setattr(signing_service, "MISTAKES", ("lost",))

    assert cli.main(["demo", "--log", str(tmp_path)]) == 1
    assert "Expected {'lost': 1}, found" in capsys.readouterr().out


def test_demo_without_the_software_csp_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the package that the software CSP needs, the error says what to install."""
    import csptrace.softcsp

    monkeypatch.delattr(csptrace.softcsp, "advapi32", raising=False)
    monkeypatch.setitem(sys.modules, "csptrace.softcsp.library", None)

    assert cli.main(["demo"]) == 2
    assert "pip install 'csptrace[softcsp]'" in capsys.readouterr().err


def test_doctor_catches_its_canary(capsys: pytest.CaptureFixture[str]) -> None:
    """The doctor leaks a key on purpose and reports that it was caught."""
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out

    assert "canary: caught" in out
    assert "tracing in this process: no" in out
    assert "ctypes.CDLL.__getitem__" in out
    assert csptrace.current() is None


def test_doctor_reports_a_dead_detector(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A canary that is not caught is a problem, and the status says so."""
    monkeypatch.setattr(csptrace.Tracer, "check", lambda _self: ())

    assert cli.main(["doctor"]) == 1
    assert "PROBLEM: canary: a key was leaked on purpose" in capsys.readouterr().out


def test_doctor_explains_an_active_tracer(capsys: pytest.CaptureFixture[str]) -> None:
    """With tracing on, the doctor lists what is patched and what is waited for, as JSON too."""
    csptrace.start(quiet=True)
    status = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)

    assert status == 0
    assert report["active"] is True
    assert "ctypes.CDLL.__getitem__" in report["patched"]
    assert set(report["pending"].values()) <= {"not imported yet", "not installed"}
    assert report["canary"] == "caught"


def test_doctor_names_what_was_bound_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function bound before tracing began is listed as not traced."""
    from csptrace.softcsp import advapi32

    monkeypatch.setattr(sys.modules[__name__], "early", advapi32["CryptGenRandom"], raising=False)
    report = doctor.examine()

    assert f"{__name__}.early" in report["missed"]


def test_doctor_names_a_bad_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that would keep tracing off is a problem."""
    monkeypatch.setenv("CSPTRACE_LEVEL", "everything")

    assert cli.main(["doctor"]) == 1
    assert "PROBLEM: CSPTRACE_LEVEL" in capsys.readouterr().out


def test_specs_lists_what_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints every function with its effects, and the same as JSON."""
    assert cli.main(["specs"]) == 0
    text = capsys.readouterr().out
    assert cli.main(["specs", "cryptoapi", "--json"]) == 0
    (spec,) = json.loads(capsys.readouterr().out)

    assert "CryptReleaseContext: releases HCRYPTPROV hProv even on failure" in text
    assert {call["name"] for call in spec["calls"]} >= {"CryptSignHashA", "CryptSignHashW"}
    assert all(call["name"] in text for call in spec["calls"])


def test_specs_of_an_unknown_api_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name is an error that lists the known ones."""
    assert cli.main(["specs", "nothing"]) == 2
    assert "known: cryptoapi" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
@pytest.mark.parametrize("command", [["specs"], ["specs", "--json"], ["doctor", "--json"]])
def test_output_that_cannot_be_written_is_said_so(command: list[str]) -> None:
    """A full disk behind standard output gives one line and a status, however little is written."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "csptrace", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stderr.startswith("csptrace: the output could not be written: ")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 2


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_says_what_for_how_and_with_which_end(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command's help says what it does, gives examples and the exit statuses, and no more."""
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    page = MANUAL[name]
    for part in (page.description(), page.epilog()):
        assert part in printed
    for docstring in ("Args:", "Returns:", "parsed command line"):
        assert docstring not in printed
    assert max(map(len, f"{page.description()}\n{page.epilog()}".splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "example"),
    [(name, line) for name, page in MANUAL.items() for line, _ in page.examples],
)
def test_examples_in_the_help_are_command_lines(name: str, example: str) -> None:
    """What the help gives as an example is a command line of that command."""
    words = shlex.split(example.rpartition("&& ")[2])
    assert words[:2] == ["csptrace", name]
    assert cli.parser().parse_args(words[1:]).command == name
