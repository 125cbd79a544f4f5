"""Settings: three places, one meaning, and an error that says what is allowed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import csptrace
from csptrace.errors import SettingsError
from csptrace.settings import PREFIX, SWITCH, Settings, is_active

ROOT = Path(csptrace.__file__).parents[1]

# name → (as a keyword, in the environment, in pyproject.toml, what comes out)
GOOD: dict[str, tuple[Any, str, str, Any]] = {
    "log": ("logs", "logs", '"logs"', Path("logs").absolute()),
    "log_rotate": (5, "5", "5", 5),
    "level": ("full", " FULL ", '"full"', "full"),
    "on_leak": ("raise", "raise", '"raise"', "raise"),
    "on_misuse": ("warn", "Warn", '"warn"', "warn"),
    "exit_code": (7, " 7", "7", 7),
    "depth": (3, "3", "3", 3),
    "apis": (("cryptoapi", "x"), "cryptoapi, x,", '["cryptoapi", "x"]', ("cryptoapi", "x")),
    "libraries": (["libcapi20.so"], "libcapi20.so", '["libcapi20.so"]', ("libcapi20.so",)),
    "include": (("app",), "app", '["app"]', ("app",)),
    "exclude": (("vendor", "x.y"), "vendor,x.y", '["vendor", "x.y"]', ("vendor", "x.y")),
    "baseline": ("/known.toml", "/known.toml", '"/known.toml"', Path("/known.toml").absolute()),
    "tombstones": (0, "0", "0", 0),
    "causes": (False, "no", "false", False),
    "held_too_long": (1.5, " 1.5", "1.5", 1.5),
    "redact_names": (True, "yes", "true", True),
    "quiet": (True, "on", "true", True),
    "strict": (True, "1", '"1"', True),
    "implied": ("warning", "Warning", '"warning"', "warning"),
    "session_limit": (16, "16", "16", 16),
    "session_share": (0, "0", "0", 0),
}

# name → (values that are not allowed, words that the error must contain)
BAD: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    "log": ((3, True, ["a"], "a\0b"), ("path of a folder",)),
    "log_rotate": ((-1, 10**7, "big", True), ("whole number of megabytes", "0", "1000000")),
    "level": (("all", "", 1, True), ("count", "acquire", "full")),
    "on_leak": (("ignore", "", 0), ("log", "warn", "raise")),
    "on_misuse": (("explode", "", False), ("log", "warn", "raise")),
    "exit_code": ((-1, 256, "x", "", True, 1.5), ("whole number", "0", "255")),
    "depth": ((0, 1001, "deep", "1e2", "9" * 5000), ("whole number of frames", "1", "1000")),
    "apis": ((1, {"a": 1}, [1], ["a", None]), ("list of names",)),
    "libraries": ((1, [b"x"]), ("list of names",)),
    "include": ((True,), ("list of names",)),
    "exclude": ((2.0,), ("list of names",)),
    "baseline": ((3, True, ["a"], "a\0b"), ("path of a file",)),
    "tombstones": ((-1, 10**8, "many"), ("whole number of handles", "0", "10000000")),
    "causes": ((2, "perhaps"), ("1, true, yes, on, 0, false, no, off",)),
    "held_too_long": (
        (-1, "long", "", True, float("inf"), float("nan"), 10**8),
        ("number of seconds", "0 (off)", "31536000"),
    ),
    "redact_names": ((2, "perhaps", "y"), ("1, true, yes, on, 0, false, no, off",)),
    "quiet": (("quiet", -1), ("1, true, yes, on, 0, false, no, off",)),
    "strict": (("very", 3), ("1, true, yes, on, 0, false, no, off",)),
    "implied": (("error", "", 0), ("ignore", "info", "warning")),
    "session_limit": ((-1, "few", 10**8), ("whole number of sessions", "0", "10000000")),
    "session_share": ((-1, 101, "most"), ("whole number of percent", "0", "100")),
}
NAMES = [field.name for field in dataclasses.fields(Settings)]


def _file(folder: Path, text: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder without any pyproject.toml above it that concerns csptrace."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setitem(GOOD, "log", (*GOOD["log"][:3], folder / "logs"))
    return folder


def test_every_setting_is_covered_here() -> None:
    """A new setting has to be added to the tables of this file."""
    assert set(GOOD) == set(BAD) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_keyword(name: str) -> None:
    """A setting can be given as a keyword."""
    given, _, _, expected = GOOD[name]

    assert getattr(Settings.load({}, **{name: given}), name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_environment(name: str) -> None:
    """A setting can be given as an environment variable, in any case and with blanks."""
    _, text, _, expected = GOOD[name]

    assert getattr(Settings.load({PREFIX + name.upper(): text}), name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_file(name: str, folder: Path) -> None:
    """A setting can stand in pyproject.toml."""
    _, _, toml, expected = GOOD[name]
    _file(folder, f"[tool.csptrace]\n{name} = {toml}\n")

    assert getattr(Settings.load({}), name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_default_without_any_place(name: str) -> None:
    """What is given nowhere has its default, and None as a keyword counts as not given."""
    field = next(field for field in dataclasses.fields(Settings) if field.name == name)

    assert getattr(Settings.load({}), name) == field.default
    assert getattr(Settings.load({}, **{name: None}), name) == field.default


def test_precedence(folder: Path) -> None:
    """A keyword wins over the environment, and the environment over the file."""
    _file(folder, '[tool.csptrace]\nlevel = "count"\ndepth = 1\nexit_code = 1\n')
    environ = {"CSPTRACE_DEPTH": "2", "CSPTRACE_EXIT_CODE": "2"}

    settings = Settings.load(environ, exit_code=3)

    assert (settings.level, settings.depth, settings.exit_code) == ("count", 2, 3)


def test_a_later_place_can_take_a_setting_back(folder: Path) -> None:
    """The environment and a keyword can also set a default again that the file has changed."""
    _file(folder, '[tool.csptrace]\nlog = "logs"\napis = ["x"]\nquiet = true\n')

    settings = Settings.load({"CSPTRACE_LOG": "", "CSPTRACE_APIS": ""}, quiet=False)

    assert settings == Settings()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (values, _) in BAD.items() for value in values]
)
def test_bad_keyword(name: str, value: Any) -> None:
    """A bad keyword is refused with its name, the value and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, **{name: value})

    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r}: allowed")
    assert all(word in message for word in BAD[name][1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, (values, _) in BAD.items()
        for value in values
        if isinstance(value, str) and "\0" not in value
    ],
)
def test_bad_variable(name: str, value: str) -> None:
    """A bad variable is refused under the variable's name, with what is allowed."""
    variable = PREFIX + name.upper()
    with pytest.raises(SettingsError) as caught:
        Settings.load({variable: value})

    message = str(caught.value)
    assert message.startswith(f"{variable} = {value!r}: allowed")
    assert all(word in message for word in BAD[name][1])


@pytest.mark.parametrize("name", NAMES)
def test_bad_value_in_file(name: str, folder: Path) -> None:
    """A bad value in the file is refused with the file, the table, the key and what is allowed."""
    file = _file(folder, f"[tool.csptrace]\n{name} = 1979-05-27\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load({})

    message = str(caught.value)
    assert message.startswith(f"{file}: [tool.csptrace] {name} = ")
    assert all(word in message for word in BAD[name][1])


@pytest.mark.parametrize(
    ("name", "value"), [(name, values[0]) for name, (values, _) in BAD.items()]
)
def test_settings_made_by_hand_are_checked(name: str, value: Any) -> None:
    """Settings that are constructed or replaced are checked like loaded ones."""
    with pytest.raises(SettingsError, match=f"^{name} = "):
        Settings(**{name: value})
    with pytest.raises(SettingsError, match=f"^{name} = "):
        dataclasses.replace(Settings(), **{name: value})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("levle", "level"), ("on_leaks", "on_leak"), ("redact_name", "redact_names")],
)
def test_unknown_name_suggests(typed: str, meant: str, folder: Path) -> None:
    """An unknown name is refused in each place, with the nearest name and all known ones."""
    file = _file(folder, f"[tool.csptrace]\n{typed} = 1\n")
    places: list[tuple[str, dict[str, str], dict[str, Any], Path]] = [
        (typed, {}, {typed: 1}, folder.parent),
        (PREFIX + typed.upper(), {PREFIX + typed.upper(): "1"}, {}, folder.parent),
        (f"{file}: [tool.csptrace] {typed}", {}, {}, folder),
    ]
    for where, environ, given, start in places:
        with pytest.raises(SettingsError) as caught:
            Settings.load(environ, start, **given)

        message = str(caught.value)
        assert message.startswith(f"{where}: unknown setting '{typed}'; did you mean '{meant}'?")
        assert all(name in message for name in NAMES)


def test_unknown_name_without_a_near_one() -> None:
    """An unknown name that resembles none is refused with the known ones."""
    with pytest.raises(SettingsError, match="unknown setting 'zzzzzz'; known: apis, "):
        Settings.load({"CSPTRACE_ZZZZZZ": "1"})


def test_variables_of_the_test_suite_are_no_settings() -> None:
    """The variables that only this project's tests read are not taken for settings."""
    environ = {"CSPTRACE": "1", "CSPTRACE_REQUIRE": "wine", "CSPTRACE_WINE_CACHE": "/x"}

    assert Settings.load(environ) == Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("1", "TRUE", " yes ", "on")),
        *((text, False) for text in ("", "0", "False", "no", "OFF")),
    ],
)
def test_switch(text: str, expected: object) -> None:
    """CSPTRACE is a yes or a no."""
    assert is_active({SWITCH: text}) is expected


def test_switch_is_off_when_unset_and_refuses_anything_else() -> None:
    """CSPTRACE unset means no; a value that is neither is refused with the allowed ones."""
    assert is_active({}) is False
    with pytest.raises(SettingsError, match="CSPTRACE = 'maybe': allowed are 1, true, yes, on, 0"):
        is_active({SWITCH: "maybe"})


def test_file_of_a_parent_folder(folder: Path) -> None:
    """The table is found in parent folders, past a pyproject.toml that does not have one."""
    _file(folder, "[tool.csptrace]\ndepth = 5\n")
    inner = folder / "package" / "src"
    inner.mkdir(parents=True)
    _file(folder / "package", "[project]\nname = 'x'\n[tool.other]\ncsptrace = 1\n")

    assert Settings.load({}, inner).depth == 5


def test_nearest_table_wins(folder: Path) -> None:
    """The nearest table is used alone; that of a parent folder is not mixed in."""
    _file(folder, "[tool.csptrace]\ndepth = 5\nexit_code = 5\n")
    inner = folder / "package"
    inner.mkdir()
    _file(inner, "[tool.csptrace]\ndepth = 6\n")

    settings = Settings.load({}, inner)

    assert (settings.depth, settings.exit_code) == (6, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.csptrace\n", "not a TOML file"),
        ("[tool]\ncsptrace = 1\n", r"\[tool.csptrace\] must be a table"),
        ("tool = 1 # csptrace\n", None),
        ("[[tool]]\nname = 'csptrace'\n", None),
        ("[project]\nname = 'csptrace'\n", None),
        ("", None),
    ],
)
def test_odd_files(text: str, words: str | None, folder: Path) -> None:
    """A file that cannot be read is named; one that says nothing about csptrace is passed over."""
    file = _file(folder, text)
    if words is None:
        assert Settings.load({}) == Settings()
        return
    with pytest.raises(SettingsError, match=words) as caught:
        Settings.load({})
    assert str(caught.value).startswith(str(file))


def test_file_that_is_not_utf8(folder: Path) -> None:
    """A file in another encoding is named, not a traceback."""
    (folder / "pyproject.toml").write_bytes(b"[tool.csptrace]\nlog = 'caf\xe9'\n")

    with pytest.raises(SettingsError, match=r"pyproject\.toml:2: not UTF-8"):
        Settings.load({})


def test_folder_named_pyproject_is_passed_over(folder: Path) -> None:
    """A folder by the name of the file is no file."""
    (folder / "pyproject.toml").mkdir()

    assert Settings.load({}) == Settings()


def test_home_in_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A tilde in the log's folder is the home folder, since no shell expands it in a file."""
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))

    assert Settings.load({"CSPTRACE_LOG": "~/logs"}).log == folder / "logs"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the working directory")
def test_working_directory_is_gone(folder: Path) -> None:
    """Settings load in a deleted folder; only a relative path is refused there."""
    folder.rmdir()

    assert Settings.load({}) == Settings()
    assert Settings.load({}, log="/somewhere").log == Path("/somewhere")
    with pytest.raises(SettingsError, match=r"log = 'logs': .*working directory is gone"):
        Settings.load({}, log="logs")


def test_settings_are_frozen() -> None:
    """Settings cannot be changed after they were read."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().depth = 3  # type: ignore[misc]


def test_names_come_out_the_same_from_every_form() -> None:
    """A set is put in order, and a comma inside a list separates as it does in the environment."""
    assert Settings.load({}, apis={"b", "a"}).apis == ("a", "b")
    assert Settings.load({}, apis=["b, c", " a "]).apis == ("b", "c", "a")


CHILD = """
import dataclasses, json, sys
from csptrace.settings import Settings, is_active
settings = Settings.load()
print(json.dumps([is_active(), dataclasses.asdict(settings)], default=str))
"""


def _in_child(environ: dict[str, str], folder: Path) -> tuple[bool, dict[str, Any]]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(SWITCH)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", CHILD],
        env={**keep, **environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    active, settings = json.loads(done.stdout)
    return active, settings


@pytest.mark.parametrize("case", ["default", "changed"])
def test_environment_makes_a_child_trace_alike(case: str, folder: Path) -> None:
    """A child with the variables has the same settings, whatever its own pyproject.toml says."""
    given = {name: row[0] for name, row in GOOD.items()} if case == "changed" else {}
    settings = Settings.load({}, **given)
    _file(
        folder,
        '[tool.csptrace]\nlevel = "count"\nlog = "elsewhere"\napis = ["other"]\nquiet = true\n'
        "depth = 99\nexit_code = 99\nredact_names = true\n",
    )

    active, child = _in_child(settings.environment(), folder)

    assert active is True
    assert child == json.loads(json.dumps(dataclasses.asdict(settings), default=str))


def test_environment_keeps_odd_paths(folder: Path) -> None:
    """Blanks, quotes and letters beyond ASCII in a path reach the child unharmed."""
    settings = Settings.load({}, log=folder / "a b'\"ü€ \N{GRINNING FACE}")

    assert Settings.load(settings.environment()) == settings
    assert _in_child(settings.environment(), folder)[1]["log"] == str(settings.log)
