"""Which places of a function release what a handle is bound to."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.causes.release_names import Names
from csptrace.causes.releases import Form, Release, Tie, names_none, releases_in
from csptrace.causes.source import Function, Target, function_of

if TYPE_CHECKING:
    from pathlib import Path

NAMES = Names(
    frozenset({"destroy"}), frozenset({"close"}), frozenset({"use"}), frozenset(), "destroy"
)


def function(folder: Path, text: str, name: str = "f") -> Function:
    """Return the source of a function that is defined in a file."""
    path = folder / f"module_{len(list(folder.iterdir()))}.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
    found = function_of(space[name].__code__)
    assert found is not None
    return found


def target(text: str, form: str = "local") -> Target:
    """Return what a handle is bound to."""
    return Target(text, form, False, 1, text)


def found(folder: Path, body: str, text: str = "h", before: str = "") -> list[Release]:
    """Return the places in a function with this body."""
    source = before + "\ndef f(lib, h, other, stack):\n" + textwrap.indent(body, "    ") + "\n"
    return releases_in(function(folder, source), NAMES, target(text))


@pytest.mark.parametrize(
    ("body", "tie"),
    [
        ("lib.destroy(h)", Tie.SAME),
        ("lib.destroy(c_void_p(h.value))", Tie.SAME),
        ("copy = h\nlib.destroy(copy)", Tie.SAME),
        ("copy = c_void_p(h.value)\nlib.destroy(copy)", Tie.SAME),
        ("all = [h]\nfor each in all:\n    lib.destroy(each)", Tie.PART),
        ("all = {'k': h}\nlib.destroy(all['k'])", Tie.PART),
        ("other.append(h)\nlib.destroy(other.pop())", Tie.PART),
        ("made = unwrap(h)\nlib.destroy(made)", Tie.MADE),
        ("h.close()", Tie.SAME),
    ],
)
def test_how_a_release_is_tied_to_the_handle(tmp_path: Path, body: str, tie: Tie) -> None:
    """By its own variable, by what holds it among others, or by what a call has made of it."""
    (release,) = found(tmp_path, body)

    assert (release.tie, release.form) == (tie, Form.CALL)
    assert release.certain is (tie is Tie.SAME)


@pytest.mark.parametrize(
    "body",
    ["lib.destroy(other)", "other.close()", "lib.use(h)", "other.close(h)", "same = h == other"],
)
def test_what_belongs_to_something_else_is_none(tmp_path: Path, body: str) -> None:
    """Neither another handle's release nor another object's close()."""
    assert found(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ("stack.callback(lib.destroy, h)", Form.HANDED),
        ("stack.callback(lambda: lib.destroy(h))", Form.HANDED),
        ("stack.callback(h.close)", Form.HANDED),
        ("stack.callback(clean, h)", Form.HANDED),
        ("clean(h)", Form.CALL),
        ("with Owner(h) as h:\n    pass", Form.WITH),
    ],
)
def test_how_a_place_releases(tmp_path: Path, body: str, form: Form) -> None:
    """By a call, by handing the release on, or by the end of a `with`."""
    before = textwrap.dedent(
        """
        def clean(handle):
            lib.destroy(handle)

        class Owner:
            def __exit__(self, *error):
                clean(self.h)
        """
    )
    releases = found(tmp_path, body, before=before)

    assert [each.form for each in releases] == [form]


def test_a_name_means_the_function_that_is_visible(tmp_path: Path) -> None:
    """A function of the same name in another scope is another one."""
    before = "def outer():\n    def clean(handle):\n        lib.destroy(handle)\n"

    assert found(tmp_path, "def clean(handle):\n    pass\nclean(h)", before=before) == []


def test_what_binds_a_variable_anew_is_known(tmp_path: Path) -> None:
    """Behind such an instruction a release is for another handle."""
    (again,) = found(tmp_path, "h = other\nlib.destroy(h)")
    (same,) = found(tmp_path, "copy = h\nh = copy\nlib.destroy(h)")

    assert again.rebinding
    assert not same.rebinding


@pytest.mark.parametrize(
    ("body", "certain"),
    [
        ("lib.use(h)", True),
        ("print(h)", True),
        ("harmless(h)", True),
        ("unknown(h)", False),
        ("unknown(other)", True),
        ("harmful(h)", False),
        ("lib.destroy(other)", False),
        ("h.ended", False),
        ("with unknown(h):\n    pass", False),
        ("def later():\n    lib.destroy(h)", False),
        ("getattr(lib, 'x')(h)", False),
    ],
)
def test_what_certainly_releases_nothing(tmp_path: Path, body: str, certain: bool) -> None:
    """Only where everything that gets at the handle is known."""
    before = textwrap.dedent(
        """
        def harmless(handle):
            return lib.use(handle)

        def harmful(handle):
            unknown(handle)

        class Handle:
            @property
            def ended(self):
                unknown(self)
        """
    )
    source = before + "\ndef f(lib, h, other):\n" + textwrap.indent(body, "    ") + "\n"

    assert names_none(function(tmp_path, source), NAMES, target("h")) is certain
