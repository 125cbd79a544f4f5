"""Whose settings count: how far up the file is sought, and to whom it must belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import csptrace
from csptrace import process, projectfile
from csptrace.frontends import cli, doctor
from csptrace.projectfile import find
from csptrace.settings import Settings

ROOT = Path(csptrace.__file__).parents[1]
TABLE = "[tool.csptrace]\ndepth = 7\n"
OTHER = 12_345
"""A user who is not there."""
AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only the superuser can give files to somebody else",
)
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no owners that Python can tell")


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is above the working folder and above any repository or home."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path


def give(path: Path, owner: int = OTHER) -> None:
    """Let a file belong to somebody else."""
    os.chown(path, owner, owner, follow_symlinks=False)


def write(folder: Path, text: str = TABLE) -> Path:
    """Write the file."""
    file = folder / "pyproject.toml"
    file.write_text(text, encoding="utf-8")
    return file


# --- how far ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".git", ".hg", ".jj", ".svn"])
@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_the_search_ends_at_the_root_of_the_repository(name: str, kind: str, place: Path) -> None:
    """The repository's root is looked into, and nothing above; in a worktree `.git` is a file."""
    write(place)
    mark = place / "a" / name
    if kind == "folder":
        mark.mkdir()
    elif kind == "file":
        mark.write_text("gitdir: elsewhere\n")
    elif os.name == "nt":
        pytest.skip("links need a privilege on Windows")
    else:
        mark.symlink_to("nowhere")

    assert find().file is None
    assert find().last == place / "a"
    file = write(place / "a")
    assert find().file == file


def test_the_search_ends_at_the_home_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder is looked into, and nothing above, however its path is written."""
    write(place)
    monkeypatch.setenv("HOME", str(place / "a" / "b" / ".."))
    monkeypatch.setenv("USERPROFILE", str(place / "a" / "b" / ".."))

    assert find().file is None
    assert find().why == "it is the home folder"
    file = write(place / "a")
    assert find().file == file


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
def test_the_search_ends_at_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a mount point nothing is looked for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as inside:
        found = find(Path(inside))

    assert found.last == Path("/dev/shm")
    assert found.why == "another file system begins above it"


def test_a_home_that_cannot_be_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder that does not exist, or is nonsense, ends nothing."""
    file = write(place)
    for home in ("/does/not/exist", "relative", "", "~"):
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("USERPROFILE", home)
        if os.name == "nt":
            (place / ".git").mkdir(exist_ok=True)
        assert find().file == file


def test_the_file_is_sought_from_folders_that_do_not_exist(place: Path) -> None:
    """A folder that is yet to be made has the settings of the one above it."""
    (place / ".git").mkdir()
    file = write(place)

    assert find(place / "not" / "yet").file == file


class Level(NamedTuple):
    """A folder of a chain, the innermost first.

    Attributes:
        root: what marks it as the root of a repository, if anything.
        content: what its `pyproject.toml` is.
        home: whether it is the home folder.
    """

    root: str
    content: str
    home: bool


CONTENT = {
    "table": TABLE,
    "empty table": "[tool.csptrace]\n",
    "mentioned": "# csptrace\n",
    "other": "[tool.other]\n",
    "none": None,
}
KINDS = [*CONTENT, *(("foreign", "foreign link") if getattr(os, "geteuid", int)() == 0 else ())]
KINDS += ["fifo", "folder", "link", "dangling"] if os.name == "posix" else ["folder"]
LEVELS = st.builds(
    Level,
    st.sampled_from(["", "", "", ".git", ".hg", ".svn"]),
    st.sampled_from(KINDS),
    st.sampled_from([False, False, False, True]),
)


def reference(levels: list[Level], *, owners: bool) -> tuple[int | None, list[int]]:
    """Return the level whose table counts, and those whose file is told not to."""
    reach = len(levels)
    bounded = False
    for number, level in enumerate(levels):
        if level.root or level.home:
            reach, bounded = number + 1, True
            break
    told = []
    for number, level in enumerate(levels[:reach]):
        if level.content.startswith("foreign"):
            told.append(number)
        elif level.content in ("table", "empty table", "link", "mentioned"):
            if not owners and number and not bounded:
                told.append(number)
            elif level.content != "mentioned":
                return number, told
    return None, told


@settings(max_examples=150, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=5), st.booleans())
def test_search_against_the_reference(levels: list[Level], owners: bool) -> None:
    """For any chain of folders the search finds what a plain reading of the rules finds."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as above:
        # Nothing above may end the search or count: the chain hangs below a folder without.
        patch.setattr(projectfile, "_ROOTS", (".git", ".hg", ".svn"))
        patch.setenv("HOME", "/does/not/exist")
        patch.setenv("USERPROFILE", "/does/not/exist")
        if not owners or os.name == "nt":
            owners = False
            patch.delattr(os, "geteuid", raising=False)
        folder = Path(above).resolve()
        (folder / "target.toml").write_text(TABLE, encoding="utf-8")
        for number, level in reversed(list(enumerate(levels))):
            folder = folder / str(number)
            folder.mkdir()
            if level.root:
                (folder / level.root).mkdir()
            if level.home:
                patch.setenv("HOME", str(folder))
                patch.setenv("USERPROFILE", str(folder))
            file = folder / "pyproject.toml"
            if level.content in CONTENT:
                text = CONTENT[level.content]
                if text is not None:
                    file.write_text(text, encoding="utf-8")
            elif level.content == "foreign":
                file.write_text(TABLE, encoding="utf-8")
                give(file)
            elif level.content == "folder":
                file.mkdir()
            elif level.content == "fifo":
                os.mkfifo(file)
            else:
                target = "nowhere" if level.content == "dangling" else "target.toml"
                file.symlink_to(Path(above, target))
                if level.content == "foreign link":
                    give(file)
        # The innermost home wins, as the loop has set the variable last for it.
        homes = [number for number, level in enumerate(levels) if level.home]
        meant = [
            level._replace(home=number == homes[0] if homes else False)
            for number, level in enumerate(levels)
        ]
        if not owners:
            meant = [
                level._replace(
                    content={"foreign": "table", "foreign link": "link"}.get(
                        level.content, level.content
                    )
                )
                for level in meant
            ]
        expected, told = reference(meant, owners=owners)

        found = find(folder)

        places = [folder, *folder.parents]
        assert found.file == (None if expected is None else places[expected] / "pyproject.toml")
        assert [Path(each.partition(" is passed")[0]).parent for each in found.passed] == [
            places[number] for number in told
        ]


# --- whose --------------------------------------------------------------------------------------


@AS_ROOT
@pytest.mark.parametrize("above", [False, True], ids=["working folder", "above"])
def test_a_file_of_somebody_else_steers_nothing(above: object, place: Path) -> None:
    """Neither above the working folder nor in it does a file of another owner count."""
    file = write(place if above else place / "a" / "b")
    give(file)
    told: list[str] = []

    assert Settings.load({}, complain=told.append) == Settings()
    (message,) = told
    assert message.startswith(f"{file} is passed over: it belongs to user {OTHER}, not to user 0 ")
    assert "CSPTRACE_" in message
    own = write(place / "a")
    if above:
        assert find().file == own


@AS_ROOT
def test_it_is_the_effective_user_who_counts() -> None:
    """A process that has another user's rights reads that user's files, and root's."""
    code = (
        "import encodings.utf_8_sig, os, sys, tomllib\n"
        "from csptrace.settings import Settings\n"
        "from pathlib import Path\n"
        f"os.seteuid({OTHER})\n"
        "told = []\n"
        "print(Settings.load({}, Path(sys.argv[1]), told.append).depth, len(told))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for owner, expected in ((OTHER, "7 0"), (0, "7 0"), (OTHER + 1, "16 1")):
            give(write(Path(folder)), owner)
            done = subprocess.run(
                [sys.executable, "-c", code, folder],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.stdout.strip() == expected, done.stderr


@AS_ROOT
def test_a_link_counts_as_whose_it_is(place: Path) -> None:
    """A link of somebody else to a file of one's own is his choice, and is passed over."""
    own = place / "own.toml"
    own.write_text(TABLE, encoding="utf-8")
    link = place / "pyproject.toml"
    link.symlink_to(own)
    assert find().file == link

    give(link)
    assert find().file is None
    assert len(find().passed) == 1

    link.unlink()
    link.symlink_to(own)
    give(own)
    assert find().file is None


@AS_ROOT
def test_a_file_that_does_not_mention_csptrace_is_not_told(place: Path) -> None:
    """Other people's projects are nobody's business."""
    give(write(place, "[project]\nname = 'x'\n"))

    assert find().passed == ()


@POSIX
def test_modes_are_not_asked(place: Path) -> None:
    """Containers and mounted drives where anybody may write are ordinary places to work in."""
    file = write(place)
    file.chmod(0o666)
    place.chmod(0o777)

    assert find().file == file


@POSIX
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="permissions do not hold root")
def test_a_file_of_ones_own_that_cannot_be_read_is_told(place: Path) -> None:
    """Whether it has settings cannot be known, so the user is told."""
    write(place).chmod(0)

    assert find().file is None
    assert "Permission denied" in find().passed[0]


@pytest.mark.parametrize("mark", ["", ".git"])
def test_where_there_are_no_owners(mark: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a file above counts in the same repository or below home only; one's own does."""
    monkeypatch.delattr(os, "geteuid", raising=False)
    above = write(place)
    if mark:
        (place / mark).mkdir()

    assert find().file == (above if mark else None)
    assert len(find().passed) == (0 if mark else 1)
    here = write(place / "a" / "b")
    assert find().file == here


# --- telling ------------------------------------------------------------------------------------


@AS_ROOT
def test_it_is_told_once_when_tracing_starts(place: Path) -> None:
    """One line on stderr and a notice in the log, with the path escaped; `quiet` is respected."""
    evil = place / "\x1b[31m\u202e"
    evil.mkdir()
    give(write(evil))
    log = place / "logs"
    for quiet in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", "import csptrace._startup as s; s.start()"],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("CSPTRACE")},
                "CSPTRACE": "1",
                "CSPTRACE_QUIET": quiet,
                "CSPTRACE_LOG": str(log),
                "PYTHONPATH": str(ROOT),
            },
            cwd=evil,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        lines = [line for line in done.stderr.splitlines() if "passed over" in line]
        assert done.returncode == 0
        assert len(lines) == (quiet == "0")
        assert all(line.isprintable() and r"\x1b[31m\u202e" in line for line in lines)
    assert all("passed over" in file.read_text("utf-8") for file in log.glob("*.jsonl"))


@AS_ROOT
def test_doctor_says_which_file_counts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who wonders why a setting has no effect finds the file, and the one that is not."""
    file = write(place)
    foreign = write(place / "a")
    give(foreign)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out

    assert f"settings file: {file}\n" in out
    assert f"  {foreign} is passed over: it belongs to user {OTHER}" in out
    file.unlink()
    assert doctor.examine()["settings_file"]["file"] is None
    assert cli.main(["doctor"]) == 0
    assert "settings file: none" in capsys.readouterr().out


def test_doctor_names_a_file_that_cannot_be_understood(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken file of one's own is a problem."""
    (place / ".git").mkdir()
    write(place, "[tool.csptrace\n")

    assert cli.main(["doctor"]) == 1
    assert "pyproject.toml:1: not a TOML file" in capsys.readouterr().out


@AS_ROOT
def test_the_pytest_plugin_tells_it(pytester: pytest.Pytester) -> None:
    """The header of a traced run names the file that does not count."""
    pytester.makepyprojecttoml(TABLE)
    give(pytester.path / "pyproject.toml")
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_subprocess("--csptrace")

    result.stdout.fnmatch_lines(["csptrace: */pyproject.toml is passed over: *"])


def test_settings_of_the_file_reach_the_tracer(place: Path) -> None:
    """A file that counts does."""
    (place / ".git").mkdir()
    write(place, "[tool.csptrace]\ndepth = 7\nquiet = true\n")
    tracer = process.start()
    try:
        assert tracer.settings.depth == 7
    finally:
        process.stop()
    shutil.rmtree(place / ".git")
