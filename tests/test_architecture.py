"""The shape of the package: imports point one way, names mean something, everything is said."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import csptrace
from csptrace.apis import registry
from csptrace.findings.catalogue import Code
from csptrace.spec.bindings import Dll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PACKAGE = Path(csptrace.__file__).parent
ROOT = PACKAGE.parent
VALUES = {
    *("csptrace", "csptrace.clocks", "csptrace.errors", "csptrace.files", "csptrace.forks"),
    *("csptrace.interruption", "csptrace.projectfile", "csptrace.settings", "csptrace.terminal"),
    *("csptrace.loader", "csptrace.quoting", "csptrace.threads", "csptrace.tomlfile"),
}

# Stage → what it may import besides the standard library, its own modules and VALUES. The stages
# stand in the order of the pipeline, and none may import a later one.
STAGES: dict[str, set[str]] = {
    "spec": set(),
    "apis": {"csptrace.spec"},
    "stacks": {"wrapt"},
    "graph": {"csptrace.spec", "csptrace.stacks"},
    "intercept": {"csptrace.spec", "csptrace.graph", "_cffi_backend"},
    "install": {
        *("csptrace.apis", "csptrace.graph", "csptrace.intercept", "csptrace.spec"),
        *("wrapt", "_cffi_backend"),
    },
    "findings": {"csptrace.graph", "csptrace.spec", "csptrace.stacks"},
    "causes": {
        *("csptrace.findings", "csptrace.graph", "csptrace.install", "csptrace.intercept"),
        *("csptrace.spec", "csptrace.stacks"),
    },
    "events": {
        *("csptrace.findings", "csptrace.graph", "csptrace.stacks"),
        *("structlog", "orjson"),
    },
    "recording": {
        *("csptrace.apis", "csptrace.causes", "csptrace.events", "csptrace.findings"),
        *("csptrace.graph", "csptrace.intercept", "csptrace.spec", "csptrace.stacks"),
    },
    "analysis": {"csptrace.events.schema", "csptrace.findings.catalogue"},
    "guide": set(),
}
COMPOSERS = {
    *("csptrace.tracer", "csptrace.process", "csptrace._startup"),
    *("csptrace.__init__", "csptrace.__main__"),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "misc"}
WRAPT_ELSEWHERE = {"csptrace.stacks.ownership"}
"""It asks for wrapt's folder, to recognise wrapt's frames."""


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name] = path
    return found


MODULES = _modules()


def for_each(modules: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Have a rule tested for each of some modules, in one test, which names those that break it."""

    def decorate(rule: Callable[[str], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for module in modules:
                try:
                    rule(module)
                except AssertionError as error:
                    broken.append(f"{module}: {error}")
            assert not broken, "\n".join(broken)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return decorate


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _is_type_checking(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _statements(body: list[ast.stmt], *, everywhere: bool, typing: bool) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those inside functions only if `everywhere`."""
    for node in body:
        if _is_type_checking(node):
            assert isinstance(node, ast.If)
            yield from _statements(
                [*(node.body if typing else []), *node.orelse], everywhere=everywhere, typing=typing
            )
            continue
        yield node
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if inside and not everywhere:
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, field, []), everywhere=everywhere, typing=typing)
        for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
            yield from _statements(part.body, everywhere=everywhere, typing=typing)


def _imports(module: str, *, everywhere: bool = True, typing: bool = True) -> set[str]:
    """Return what a module imports: absolute names, `package.name` for `from package import`."""
    found: set[str] = set()
    for node in _statements(_tree(module).body, everywhere=everywhere, typing=typing):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            if f"{node.module}.__init__" in MODULES:
                found.update(
                    f"{node.module}.{alias.name}"
                    if {f"{node.module}.{alias.name}", f"{node.module}.{alias.name}.__init__"}
                    & set(MODULES)
                    else node.module
                    for alias in node.names
                )
            else:
                found.add(node.module)
    return found


def _stage(module: str) -> str:
    return module.split(".")[1]


def _within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _foreign(module: str, *, everywhere: bool = True, typing: bool = True) -> set[str]:
    """Return the imports that are not the standard library's."""
    return {
        name
        for name in _imports(module, everywhere=everywhere, typing=typing)
        if name.partition(".")[0] not in sys.stdlib_module_names
    }


STAGE_MODULES = [name for name in MODULES if _stage(name) in STAGES]


def test_the_walk_sees_every_import() -> None:
    """The reading of imports misses none that Python's own walk finds."""
    for module in MODULES:
        walked = sum(
            isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(_tree(module))
        )
        statements = _statements(_tree(module).body, everywhere=True, typing=True)
        assert sum(isinstance(n, ast.Import | ast.ImportFrom) for n in statements) == walked, module


@for_each(STAGE_MODULES)
def test_imports_point_one_way(module: str) -> None:
    """A stage imports the shared values, its own modules, and earlier stages it is allowed."""
    stage = _stage(module)
    own = f"csptrace.{stage}"
    forbidden = {
        name
        for name in _foreign(module)
        if name not in VALUES and not _within(name, STAGES[stage] | {own})
    }
    if stage == "analysis":  # its engines and renderers are extras
        forbidden = {name for name in forbidden if name.startswith("csptrace")}

    assert forbidden == set()


def test_no_stage_may_import_a_later_one() -> None:
    """The table above allows no stage a later one."""
    order = list(STAGES)
    for stage, allowed in STAGES.items():
        for name in allowed:
            if name.startswith("csptrace") and stage != "analysis":
                assert order.index(_stage(name)) < order.index(stage)


@for_each(sorted(VALUES - {"csptrace"}))
def test_shared_values_import_nothing_but_each_other(module: str) -> None:
    """What every stage may use knows no stage."""
    assert _foreign(module) <= VALUES


def test_no_imports_go_in_a_circle() -> None:
    """No module needs one that needs it, names of types included; the package's root only names."""
    needs = {
        _imported(module): {
            name for name in _imports(module) if _within(name, {"csptrace"}) and name != "csptrace"
        }
        for module in MODULES
        if module != "csptrace.__init__"
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def _imported(module: str) -> str:
    """Return the name by which a module is imported."""
    return module.removesuffix(".__init__")


@for_each(MODULES)
def test_nobody_imports_the_composition_root(module: str) -> None:
    """Only the ways in know the tracer and the frontends."""
    if module in COMPOSERS or _stage(module) == "frontends":
        return
    if _stage(module) == "examples":  # programs to be traced, not part of the pipeline
        return

    assert not any(
        _within(name, {"csptrace.tracer", "csptrace.process", "csptrace.frontends"})
        for name in _imports(module)
    )


@for_each(["csptrace.tracer", "csptrace.process"])
def test_tracer_imports_no_frontend(module: str) -> None:
    """The tracer does not know who asked for it, nor whether it is the process's only one."""
    assert not any(_within(name, {"csptrace.frontends"}) for name in _imports(module))
    assert not any(_within(name, {"csptrace.process"}) for name in _imports("csptrace.tracer"))


@for_each([name for name in MODULES if _stage(name) != "install"])
def test_wrapt_is_touched_in_one_place(module: str) -> None:
    """Only the stage that replaces functions uses wrapt."""
    if module in WRAPT_ELSEWHERE:
        tree = _tree(module)
        uses = [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "wrapt"
        ]
        assert set(uses) == {"__file__"}
        return

    assert not any(_within(name, {"wrapt"}) for name in _imports(module))


@for_each([name for name in MODULES if _stage(name) == "softcsp"])
def test_software_provider_stands_alone(module: str) -> None:
    """The software provider is a provider like any other: it knows nothing of the tracer.

    What both share is how locks survive a fork: two modules of that sort would wait for each other.
    """
    foreign = _foreign(module) - {"csptrace.forks"}

    assert not any(
        _within(name, {"csptrace"}) and not _within(name, {"csptrace.softcsp"}) for name in foreign
    )


@for_each(MODULES)
def test_module_names_say_something(module: str) -> None:
    """No module is called by a name under which anything could stand."""
    assert not VAGUE & set(module.split("."))


@for_each(["csptrace.__init__", "csptrace._startup"])
def test_an_interpreter_that_does_not_trace_pays_nothing(module: str) -> None:
    """What runs in every interpreter imports only the standard library."""
    assert _foreign(module, everywhere=False, typing=False) == set()


def test_importing_the_package_loads_nothing_of_it() -> None:
    """`import csptrace` loads no other module of the package, and no dependency."""
    program = (
        "import sys; before = set(sys.modules); import csptrace, csptrace._startup;"
        "csptrace._startup.start();"
        "print(*sorted(set(sys.modules) - before - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    loaded = {name for name in done.stdout.split() if "." not in name or "csptrace" in name}
    assert loaded == {"csptrace", "csptrace._startup"}


def _public(module: str) -> list[str]:
    name = module.removesuffix(".__init__")
    return list(getattr(importlib.import_module(name), "__all__", []))


PUBLIC = [
    name
    for name in MODULES
    if _stage(name) not in ("softcsp", "examples", "frontends") and name != "csptrace.__main__"
]


@for_each(PUBLIC)
def test_all_is_sorted_and_resolvable(module: str) -> None:
    """`__all__` is sorted as the linter sorts it, without repetition, and every name exists."""
    names = _public(module)
    imported = importlib.import_module(module.removesuffix(".__init__"))

    assert names == sorted(
        names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(imported, name) is not None


def test_public_names_of_the_package() -> None:
    """Every public name resolves, is listed by dir(), and an unknown one is an AttributeError."""
    assert set(csptrace.__all__) <= set(dir(csptrace))
    for name in csptrace.__all__:
        assert getattr(csptrace, name) is not None
    with pytest.raises(AttributeError, match="module 'csptrace' has no attribute 'strat'"):
        csptrace.strat  # noqa: B018 - the look-up is what is tested


def test_every_error_is_public_in_its_module() -> None:
    """No exception class of `csptrace.errors` is missing from its `__all__`."""
    from csptrace import errors

    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert classes == set(errors.__all__)


@for_each([name for name in MODULES if _stage(name) != "softcsp"])
def test_everything_public_has_a_docstring(module: str) -> None:
    """Modules, public classes, functions and methods say in a sentence what they do."""
    tree = _tree(module)
    missing = [] if ast.get_docstring(tree) else [module]
    waiting: list[tuple[str, ast.stmt]] = [(module, node) for node in tree.body]
    while waiting:
        where, node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        name = f"{where}.{node.name}"
        if not ast.get_docstring(node) and not _inherits_docstring(node):
            missing.append(name)
        if isinstance(node, ast.ClassDef):
            waiting.extend((name, inner) for inner in node.body)

    assert missing == []


def _inherits_docstring(node: ast.stmt) -> bool:
    """Return whether a function is a setter or deleter, whose getter has the docstring."""
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter")
        for decorator in node.decorator_list
    )


def test_public_functions_of_the_package_name_their_arguments() -> None:
    """Everything that users call is annotated, so that editors can help."""
    for name in csptrace.__all__:
        value = getattr(csptrace, name)
        if inspect.isfunction(value):
            for parameter in inspect.signature(value).parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, name


DOOR = "csptrace.terminal"
CONSOLE = "csptrace.analysis.render.console"
SPEAKING = [
    name for name in MODULES if _stage(name) not in ("softcsp", "examples") and name != DOOR
]
"""Everything but the provider and the example programs, which are traced and speak for themselves,
and `csptrace.frontends.pytest_plugin.results`'s door to pytest's own terminal (see below)."""


def _writes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield where a module writes to a standard stream or a terminal by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield node.lineno, "print"
        if not isinstance(node, ast.Attribute):
            continue
        text = ast.unparse(node)
        if node.attr in ("write", "writelines", "buffer", "reconfigure") and "std" in text:
            yield node.lineno, text
        if text in ("sys.__stdout__", "sys.__stderr__", "sys.displayhook"):
            yield node.lineno, text
        if node.attr in ("write_line", "write_sep", "write_raw", "rewrite", "_tw"):
            yield node.lineno, text


@for_each(SPEAKING)
def test_one_module_writes_to_terminals(module: str) -> None:
    """Nothing else prints or writes to a standard stream, so nothing can forget to escape."""
    found = [text for _line, text in _writes(_tree(module))]
    if module == "csptrace.frontends.pytest_plugin.results":  # its own door: `_Lines`
        assert found == ["self._reporter.write_line"]
        return

    assert found == []


@for_each(MODULES)
def test_finding_codes_stand_in_the_catalogue_alone(module: str) -> None:
    """No other module spells a code out, so that a new one is one new row."""
    if module == "csptrace.findings.catalogue" or _stage(module) == "examples":
        return
    codes = {code.value for code in Code} - {Code.LOST.value}  # a word like any other
    spelled = [
        node.value
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Constant) and node.value in codes
    ]

    assert spelled == []


@for_each([name for name in MODULES if _stage(name) in ("events", "analysis", "frontends")])
def test_nobody_asks_again_whose_code_a_frame_is(module: str) -> None:
    """Stacks come resolved; who writes them down need not tell the user's frames from others."""
    assert not any(_within(name, {"csptrace.stacks.ownership"}) for name in _imports(module))


def test_the_search_for_writes_finds_them() -> None:
    """What would write past the door is noticed, in every form that it usually has."""
    for text in (
        "print('x')",
        "show = print",
        "sys.stdout.write('x')",
        "sys.stderr.writelines([])",
        "sys.stdout.buffer.write(b'x')",
        "sys.__stderr__",
        "reporter.write_line('x')",
    ):
        assert list(_writes(ast.parse(text))), text


@for_each(SPEAKING)
def test_only_the_door_knows_escape_sequences(module: str) -> None:
    """No other module has an escape character in its source, and only one has rich's console."""
    assert not [
        node.value
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\x1b" in node.value
    ]
    if module != CONSOLE:
        assert not {"rich.text", "rich.print"} & _imports(module)
        consoles = [
            alias.name
            for node in ast.walk(_tree(module))
            if isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console")
            for alias in node.names
        ]
        assert not {"Console", "console", "print", "get_console"} & set(consoles)


@for_each(SPEAKING)
def test_only_the_door_makes_rendered_lines(module: str) -> None:
    """`Rendered`, which is written as it is, is made by `render` and nowhere else."""
    calls = [
        ast.unparse(node.func) for node in ast.walk(_tree(module)) if isinstance(node, ast.Call)
    ]

    assert not [call for call in calls if call.rpartition(".")[2] == "Rendered"]


@for_each([name for name in MODULES if _stage(name) != "softcsp"])
def test_one_module_reads_toml(module: str) -> None:
    """TOML files are read in one place, which never hangs and always names the file."""
    assert ("tomllib" in _imports(module)) == (module == "csptrace.tomlfile")


def test_no_two_test_modules_share_a_name() -> None:
    """What tests import by its name is found by it, whichever folder is collected first."""
    found = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != "conftest.py" and path.parent.name != "programs"
    ]
    assert sorted(set(found)) == sorted(found)


def _words_of_apis() -> set[str]:
    """Return the words that mean one API: its own name, and those of functions and bindings."""
    words: set[str] = set()
    for spec in registry.load(registry.BUILT_IN):
        words |= {spec.name, *spec.by_name(), *(kind.name for kind in spec.kinds)}
        for binding in spec.bindings:
            if isinstance(binding.target, Dll):
                words |= {*binding.target.libraries, binding.target.marker}
            else:
                words |= {binding.name, *binding.target.classes, *binding.target.modules}
                words |= {shape.python for shape in binding.shapes.values()}
    # Words of the language, too, and the provider that is part of the package.
    return words - {"", "lib", "softcsp", "Object", "Session", "Slot", "Token"}


WORDS_OF_APIS = _words_of_apis()
PREFIXES_OF_APIS = re.compile(r"(CK[AFMORU]_|C_|Crypt|NCrypt|BCrypt|Cert|SCard|Esys_)[A-Z]\w*")
KNOWS_NO_API = [
    name
    for name in MODULES
    if _stage(name) not in ("apis", "softcsp", "examples") and name != "csptrace.frontends.manual"
]
"""All but the folders of the APIs, the provider, the example programs (with what the demo runs)
and the help texts, which give examples."""


def _code_words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the words of a module's code: names and strings, but no docstring and no comment."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        found: list[str | None] = []
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found = [name]
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.keyword(arg=name):
                found = [name]
            case ast.AsyncFunctionDef(name=name):
                found = [name]
            case ast.alias(name=name, asname=other):
                found = [name, *name.split("."), other]
            case ast.ImportFrom(module=name) if name:
                found = [name, *name.split(".")]
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found = [text, *re.findall(r"[\w.-]+", text), *re.findall(r"\w+", text)]
        for word in found:
            if word:
                yield getattr(node, "lineno", 0), word


@for_each(KNOWS_NO_API)
def test_no_other_module_knows_an_api(module: str) -> None:
    """What is special about an API stands in its folder: one more is no change anywhere else."""
    found = {
        (line, word)
        for line, word in _code_words(_tree(module))
        if word in WORDS_OF_APIS or PREFIXES_OF_APIS.fullmatch(word)
    }

    assert found == set()


@pytest.mark.parametrize(
    "text",
    [
        "from csptrace.apis.pkcs11 import queries",
        "import win32crypt",
        "if spec.name == 'cryptoapi': pass",
        "CKA_TOKEN = 0x1",
        "say('close it with C_CloseSession')",
        "library.CryptGenKey(1)",
        "def f(NCryptFreeObject): pass",
        "f(CertCloseStore=1)",
        "name = 'PyKCS11'",
        "x = 'python-pkcs11'",
    ],
)
def test_the_search_for_apis_finds_them(text: str) -> None:
    """Each form in which an API could be known is noticed; prose about one is not."""
    words = {word for _, word in _code_words(ast.parse(text))}
    assert [w for w in words if w in WORDS_OF_APIS or PREFIXES_OF_APIS.fullmatch(w)]

    prose = ast.parse(f'"""{text}"""\ndef f():\n    """{text}"""\nx = 1\n"""{text}"""\n# {text}')
    assert {word for _, word in _code_words(prose)} <= {"f", "x"}
