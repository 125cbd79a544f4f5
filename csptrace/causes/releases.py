"""Which places of a function release what a handle is bound to, as far as its source tells.

A place is a call of a release function or of something that leads to one, a call that is handed
one (`stack.callback(CryptDestroyKey, hKey)`), or the end of a `with` whose object releases. What
is found by name may be wrong about the handle, so each place says how it is tied to it.
"""

from __future__ import annotations

import ast
import builtins
import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace import quoting
from csptrace.causes.source import ADDRESSES, KEEPS, last_name, names_in, plain, span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from csptrace.causes.release_names import Names
    from csptrace.causes.source import Definition, Function, Target

__all__ = [
    "EndCondition",
    "Form",
    "Release",
    "Tie",
    "attribute_of",
    "end_condition",
    "names_none",
    "releasers",
    "releases_in",
    "shown_call",
    "stores_of",
    "ties_of",
]

_ROUNDS: Final = 3
_LONGEST: Final = 40
_DEEPEST: Final = 3
_ITERATIONS: Final = (ast.For, ast.AsyncFor, ast.comprehension)
_ENDS: Final = frozenset({"__exit__", "__aexit__"})
_RESUMES: Final = frozenset({"eval", "exec", "filter", "map", "next"})
_HARMLESS: Final = frozenset(dir(builtins)) - _RESUMES | ADDRESSES
"""What does nothing with a handle that it is given but look at it, wrap it or keep it."""


class Form(enum.Enum):
    """How a place releases."""

    CALL = "call"
    """It is a call."""
    HANDED = "handed"
    """It hands a release on, which somebody else may call."""
    WITH = "with"
    """It is the end of a `with`."""


class Tie(enum.IntEnum):
    """How a name is tied to the handle, the closest first."""

    SAME = 0
    """It is the variable, or was assigned from it."""
    PART = 1
    """It holds the handle among others, or is one of several."""
    MADE = 2
    """A call has made it of the handle; what it is, is not known."""


class Release(NamedTuple):
    """A place that releases a handle, or that leads to a release.

    Attributes:
        name: what is called.
        through: the release function that it calls in the end, empty if it is one itself.
        line: where.
        node: the call; for the end of a `with` its context expression.
        form: how it releases.
        tie: how it is tied to the handle; `None` if it is not, as far as names tell.
        by: the names by which it is.
        made: the calls that have made what it releases, for `Tie.MADE`.
        shared: whether references may be added, so that one release need not be the end.
        rebinding: the instructions that bind one of `by` to something else; behind them the place
            releases another handle.
        seen: whether it was seen to release others that were acquired at the same place.
        sure: whether what is called is known, and not only what functions of that name there are.
    """

    name: str
    through: str
    line: int
    node: ast.expr
    form: Form = Form.CALL
    tie: Tie | None = None
    by: frozenset[str] = frozenset()
    made: tuple[ast.Call, ...] = ()
    rebinding: frozenset[int] = frozenset()
    shared: bool = False
    seen: bool = False
    sure: bool = True

    @property
    def certain(self) -> bool:
        """Whether it releases the handle, if it is reached while its variable holds it."""
        direct = self.form is Form.CALL and not self.through
        return self.tie is Tie.SAME and direct and not self.shared


class EndCondition(NamedTuple):
    """A condition on the exception that leaves a `with`, behind which its end releases.

    Attributes:
        method: the method that is the end.
        line: the line of the release in it.
        condition: the line of the condition.
    """

    method: str
    line: int
    condition: int


def shown_call(node: ast.Call, name: str) -> str:
    """Return a call as messages quote it, without its arguments if it is long.

    Args:
        node: the call.
        name: what is called.
    """
    shown = quoting.expression(node)
    return f"{name}()" if len(shown) > _LONGEST else shown


class _Known:
    """The names that stand for what a target holds, in one function."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function = function
        self.target = target
        self.ties = {target.text: Tie.PART if target.form == "item" else Tie.SAME}
        self.made: dict[str, list[ast.Call]] = {}
        if target.text.startswith("("):  # `handle, size = make()`
            for name in names_in(ast.parse(target.text, mode="eval")):
                self.ties[name] = Tie.SAME
        self.owners = {name: target.text[len(name) :] for name in _owners(target.text)}
        for _ in range(_ROUNDS):
            before = dict(self.ties)
            for node in function.own:
                self._follow(node)
            if self.ties == before:
                break

    def _follow(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            self._assigned(node.value, node.targets)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._assigned(node.value, [node.target])
        elif isinstance(node, _ITERATIONS):
            if self.among(node.iter):
                for name in names_in(node.target):
                    self._add(name, Tie.PART)
            elif isinstance(node.target, ast.Name):
                for owner in self.owners.keys() & set(names_in(node.iter)):
                    self._owned(node.target.id, owner, Tie.PART)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in KEEPS
            and any(map(self.among, node.args))
        ):
            self._add(ast.unparse(node.func.value), Tie.PART)

    def _assigned(self, value: ast.expr, targets: list[ast.expr]) -> None:
        pairs = [(target, value) for target in targets]
        for target, each in list(pairs):
            if (
                isinstance(target, ast.Tuple)
                and isinstance(each, ast.Tuple)
                and len(target.elts) == len(each.elts)
            ):
                pairs.remove((target, each))
                pairs.extend(zip(target.elts, each.elts, strict=True))
        for target, each in pairs:
            hits = self.among(each)
            if not hits:
                if isinstance(target, ast.Name) and ast.unparse(each) in self.owners:
                    self._owned(target.id, ast.unparse(each), Tie.SAME)
                continue
            tie = max(self.ties[name] for name in hits)
            bare = plain(each)
            if isinstance(each, ast.Compare):
                continue
            if isinstance(bare, ast.Call):
                tie = Tie.MADE
            elif not isinstance(bare, ast.Name | ast.Attribute | ast.Subscript):
                tie = max(tie, Tie.PART)
            for part in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
                while isinstance(part, ast.Subscript | ast.Starred):
                    part, tie = part.value, max(tie, Tie.PART)  # noqa: PLW2901 - outwards
                if isinstance(part, ast.Name | ast.Attribute):
                    name = ast.unparse(part)
                    self._add(name, tie)
                    if isinstance(bare, ast.Call):
                        self.made.setdefault(name, []).append(bare)

    def _owned(self, name: str, owner: str, tie: Tie) -> None:
        """Note that a name stands for an object that has the handle."""
        part = self.owners[owner]
        self.owners[name] = part
        self._add(name + part, tie)

    def _add(self, name: str, tie: Tie) -> None:
        if name not in self.ties or self.ties[name] > tie:
            self.ties[name] = tie

    def among(self, node: ast.AST) -> set[str]:
        """Return the known names in an expression."""
        return self.ties.keys() & set(names_in(node))

    def rebinding(self, names: set[str]) -> frozenset[int]:
        """Return the instructions that bind one of some known names to something else."""
        found: set[int] = set()
        for name in names & self.ties.keys():
            found |= stores_of(self.function, name)
        if not found:
            return frozenset()
        again = []
        for node in self.function.own:
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
                if node.value is not None and self.among(node.value):
                    again.append(span(node))
            elif isinstance(node, _ITERATIONS) and self.among(node.iter):
                again.append(span(node.target))
        return frozenset(found - self.function.flow.inside(again))

    def tie(self, node: ast.expr) -> tuple[Tie, set[str]] | None:
        """Return how an expression is tied to the handle, and by which names."""
        hits = self.among(node)
        if not hits:
            return None
        bare = plain(node)
        text = ast.unparse(bare)
        if text in hits:
            return self.ties[text], {text}
        best = min(self.ties[name] for name in hits)
        return max(best, Tie.PART), hits


def ties_of(function: Function, target: Target) -> dict[str, Tie]:
    """Return the names that stand for what a target holds in a function, and how each is tied."""
    return _Known(function, target).ties


def releases_in(function: Function, names: Names, target: Target) -> list[Release]:
    """Return the places that release what a target holds.

    Args:
        function: the function.
        names: what releases the handle.
        target: what it is bound to; if to nothing, none is found.

    Returns:
        The places, in the order of lines.
    """
    return sorted(_Search(function, names, target).found(), key=lambda each: each.line)


class _Search:
    """The search for the places in one function that release what a target holds."""

    def __init__(self, function: Function, names: Names, target: Target) -> None:
        self._function = function
        self._names = names
        self._target = target
        self._known = _Known(function, target) if target.text else None

    def found(self) -> Iterator[Release]:
        """Yield the places."""
        if self._known is None:
            return
        for node in self._function.own:
            if isinstance(node, ast.Call):
                release = self._call(node, self._known)
                if release is not None:
                    yield release
            elif isinstance(node, ast.With | ast.AsyncWith):
                for item in node.items:
                    through = self._end_of(item, self._known)
                    if through:
                        context = item.context_expr
                        yield Release(
                            "the end of the with", through, node.lineno, context, Form.WITH
                        )

    def _call(self, node: ast.Call, known: _Known) -> Release | None:
        name = self._resolved(node.func)
        if name in self._names.functions or name in self._names.methods:
            return self._direct(node, name, known)
        handed = self._handed(node, name, known)
        if handed is not None:
            return handed
        through = self._leads_to(node.func)
        if not through:
            return None
        owners = known.owners.keys() | known.ties.keys()
        parts = _parts(node)
        hits = {each for part in parts for each in names_in(part) if each in owners}
        if not hits and not self._reaches(node.func, known):
            return None
        ties = [known.ties[each] for each in hits if each in known.ties]
        made = [each for name_ in hits for each in known.made.get(name_, ())]
        return Release(
            shown_call(node, name),
            through,
            node.lineno,
            node,
            Form.CALL,
            min(ties, default=Tie.PART),
            frozenset(hits),
            tuple(made),
            known.rebinding(hits),
            sure=self._is_sure(node.func),
        )

    def _direct(self, node: ast.Call, name: str, known: _Known) -> Release | None:
        parts = _parts(node)
        if name in self._names.methods:
            parts = parts[:1] if isinstance(node.func, ast.Attribute) else []
        ties = [tie for tie in map(known.tie, parts) if tie is not None]
        if not ties:
            return None
        tie, by = min(ties, key=lambda each: each[0])
        made = tuple(each for name_ in by for each in known.made.get(name_, ()))
        again = known.rebinding(by)
        shared = bool(self._names.shares & self._function.source.words)
        by_ = frozenset(by)
        return Release(name, "", node.lineno, node, Form.CALL, tie, by_, made, again, shared)

    def _handed(self, node: ast.Call, name: str, known: _Known) -> Release | None:
        """Return the place if a call is handed something that releases."""
        arguments = (*node.args, *(keyword.value for keyword in node.keywords))
        for argument in arguments:
            given = last_name(argument) if isinstance(argument, ast.Attribute | ast.Name) else ""
            through = ""
            if given in self._names.functions or given in self._names.methods:
                through = given
                tied = isinstance(argument, ast.Attribute) and bool(known.among(argument.value))
                if given in self._names.functions:
                    tied = tied or any(known.among(each) for each in arguments)
            elif given and self._definitions(argument) and not self._is_property(argument):
                through = self._leads_to(argument)
                tied = self._reaches(argument, known) or any(
                    known.among(each) or known.owners.keys() & set(names_in(each))
                    for each in arguments
                )
            elif isinstance(argument, ast.Lambda):
                through, tied = self._in_lambda(argument, known)
                given = "lambda"
            if through and tied:
                shown = f"{name}(… {given} …)" if name else given
                return Release(shown, through, node.lineno, node, Form.HANDED, Tie.PART)
        return None

    def _is_property(self, argument: ast.expr) -> bool:
        """Return whether an attribute is that of a property: its value is handed on, not it."""
        return any(
            last_name(decorator).endswith("property")
            for definition in self._definitions(argument)
            for decorator in definition.decorator_list
        )

    def _in_lambda(self, node: ast.Lambda, known: _Known) -> tuple[str, bool]:
        for each in ast.walk(node.body):
            if isinstance(each, ast.Call):
                name = self._resolved(each.func)
                if name not in self._names.functions | self._names.methods:
                    name = self._leads_to(each.func)
                if name and (known.among(each) or self._reaches(each.func, known)):
                    return name, True
        return "", False

    def _resolved(self, function: ast.expr) -> str:
        """Return a called function's name, that of what it was assigned if it is an alias."""
        if isinstance(function, ast.Name):
            for node in (*self._function.own, *self._function.source.tree.body):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                    for target in node.targets:
                        if isinstance(target, ast.Name) and target.id == function.id:
                            return node.value.attr
        return last_name(function)

    # --- through functions of the same file -----------------------------------------------------

    def _definitions(self, function: ast.expr) -> list[Definition]:
        found = self._function.source.definitions(function, self._function.node)
        return [each for each in found if each is not self._function.node]

    def _leads_to(self, function: ast.expr) -> str:
        """Return the release function that a function of the same file calls, empty if none."""
        for definition in self._definitions(function):
            found = _led(definition, self._function, self._names, _DEEPEST)
            if found:
                return found
        return ""

    def _is_sure(self, function: ast.expr) -> bool:
        """Return whether every function of the file that may be meant leads to a release."""
        return all(
            _led(definition, self._function, self._names, _DEEPEST)
            for definition in self._definitions(function)
        )

    def _reaches(self, function: ast.expr, known: _Known) -> bool:
        """Return whether a function of the file releases a variable that it shares with this one.

        A variable of the module, or of the function around it.
        """
        root = _root(known.target.text)
        code = self._function.code
        if code.co_name == "<module>":
            shared = known.target.form in ("global", "attribute", "item")
        else:
            shared = root in (*code.co_cellvars, *code.co_freevars) or (
                root not in code.co_varnames and known.target.form != "parameter"
            )
        if not shared:
            return False
        for definition in self._definitions(function):
            for node in ast.walk(definition):
                if (
                    isinstance(node, ast.Call)
                    and last_name(node.func) in self._names.functions | self._names.methods
                    and any(known.target.text in names_in(part) for part in _parts(node))
                ):
                    return True
        return False

    def _end_of(self, item: ast.withitem, known: _Known) -> str:
        """Return the release function that the end of a `with` calls, empty if none is known."""
        context = item.context_expr
        bound = item.optional_vars
        owners = known.owners.keys() | known.ties.keys()
        closing = isinstance(context, ast.Call) and last_name(context.func) in (
            "closing",
            "aclosing",
        )
        inner = context.args[0] if closing and context.args else context  # type: ignore[attr-defined]
        names = {ast.unparse(inner)} | ({ast.unparse(bound)} if bound is not None else set())
        if not names & owners:
            return ""
        if "__exit__" in self._names.methods and known.ties.get(ast.unparse(bound or inner)) == 0:
            return self._names.word
        if closing:
            if self._names.methods & {"close", "aclose"} and ast.unparse(inner) in known.ties:
                return "close"
            methods = frozenset({"close", "aclose"})
        else:
            methods = _ENDS
        classes = self.classes_of(inner)
        for definition in classes:
            for method in definition.body:
                if (
                    isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                    and method.name in methods
                ):
                    return _led(method, self._function, self._names, _DEEPEST)
        return ""

    def classes_of(self, node: ast.expr) -> list[ast.ClassDef]:
        """Return the class of what an expression gives, if it is one of the file."""
        if isinstance(node, ast.Name):
            for each in self._function.own:
                if isinstance(each, ast.Assign | ast.AnnAssign) and isinstance(
                    each.value, ast.Call
                ):
                    targets = each.targets if isinstance(each, ast.Assign) else [each.target]
                    if any(ast.unparse(target) == node.id for target in targets):
                        node = each.value
                        break
        if not isinstance(node, ast.Call):
            return []
        name = last_name(node.func)
        scopes = self._function.source.classes.get(name, [])
        return scopes if len(scopes) == 1 else []


def releasers(function: Function, names: Names, target: Target) -> list[tuple[Definition, int]]:
    """Return the functions of the file that release what an attribute holds.

    Args:
        function: the function that keeps the handle there.
        names: what releases it.
        target: the attribute.

    Returns:
        The definition of each, and the line of the release in it.
    """
    attribute = attribute_of(target.text)
    found = []
    home = function.home
    for definitions in function.source.functions.values():
        for definition in definitions:
            if definition is function.node or (
                home is not None
                and target.text.startswith("self.")
                and function.source.parents.get(definition) is not home
            ):
                continue
            derived = _derived(definition, attribute)
            for node in ast.walk(definition):
                if (
                    isinstance(node, ast.Call)
                    and last_name(node.func) in names.functions | names.methods
                    and _mentions(node, attribute, derived)
                ):
                    found.append((definition, node.lineno))
                    break
    return found


def end_condition(
    function: Function, names: Names, target: Target, release: Release
) -> EndCondition | None:
    """Return on what it depends that the end of a `with` releases, where that is an exception.

    Args:
        function: the function with the `with`.
        names: what releases the handle.
        target: what it is bound to in the function.
        release: the end of the `with`.

    Returns:
        `None` if its class is not one of the file, or releases whatever the `with` is left by.
    """
    classes = _Search(function, names, target).classes_of(release.node)
    for definition in classes:
        for method in definition.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name in _ENDS:
                return _condition_of(definition, method, names)
    return None


def _condition_of(home: ast.ClassDef, method: Definition, names: Names) -> EndCondition | None:
    """Return the one condition on an exception behind which all releases of a method stand."""
    arguments = [*method.args.posonlyargs, *method.args.args][1:]
    about = {each.arg for each in arguments}
    if method.args.vararg is not None:
        about.add(method.args.vararg.arg)
    calls: list[tuple[int, int]] = []

    def visit(block: Sequence[ast.stmt], line: int) -> None:
        for statement in block:
            if isinstance(statement, ast.If):
                asks = bool(about & set(names_in(statement.test)))
                visit(statement.body, statement.lineno if asks else line)
                visit(statement.orelse, statement.lineno if asks else line)
                if asks and statement.body and isinstance(statement.body[-1], ast.Return):
                    line = statement.lineno  # what follows is behind it, too
                continue
            inner = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            handlers = [each.body for each in getattr(statement, "handlers", [])]
            if any((*inner, *handlers)):
                for part in (*inner, *handlers):
                    visit(part, line)
                continue
            calls.extend(
                (node.lineno, line)
                for node in ast.walk(statement)
                if isinstance(node, ast.Call)
                and last_name(node.func) in names.functions | names.methods
            )

    visit(method.body, 0)
    if not calls or not all(condition for _, condition in calls):
        return None
    line, condition = calls[0]
    return EndCondition(f"{home.name}.{method.name}", line, condition)


def attribute_of(text: str) -> str:
    """Return the attribute in which an expression keeps something (`self.open[name]`: `open`).

    Args:
        text: the expression.
    """
    return text.partition("[")[0].rpartition(".")[2]


def _mentions(node: ast.AST, attribute: str, names: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Attribute) and each.attr == attribute)
        or (isinstance(each, ast.Name) and each.id in names)
        for each in ast.walk(node)
    )


def _derived(definition: Definition, attribute: str) -> set[str]:
    """Return the names of a function that may stand for what an attribute holds."""
    names: set[str] = set()
    for _ in range(_ROUNDS):
        for node in ast.walk(definition):
            pairs: list[tuple[ast.expr, ast.expr | None]] = []
            if isinstance(node, ast.Assign):
                pairs = [(target, node.value) for target in node.targets]
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
                pairs = [(node.target, node.value)]
            elif isinstance(node, _ITERATIONS):
                pairs = [(node.target, node.iter)]
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                pairs = [(node.optional_vars, node.context_expr)]
            for target, value in pairs:
                if value is not None and _mentions(value, attribute, names):
                    names.update(names_in(target))
    return names


def names_none(
    function: Function, names: Names, target: Target, foreign: Collection[ast.AST] = ()
) -> bool:
    """Return whether it is certain that a function calls nothing that releases the handle.

    No name of a release stands in it, and everything that gets hold of the handle in it is known.

    Args:
        function: the function.
        names: what releases the handle.
        target: what it is bound to.
        foreign: the calls in it that are known to release others.
    """
    if not target.text:
        return False
    known = _Known(function, target)
    owners = known.owners.keys() | known.ties.keys()
    code = function.code
    root = _root(target.text)
    shared = code.co_name == "<module>" or root not in code.co_varnames
    passed = {each.func for each in foreign if isinstance(each, ast.Call)} | {*foreign}
    return _is_silent(
        function.node, function, names, owners, shared=shared, depth=_DEEPEST, passed=passed
    )


def stores_of(function: Function, name: str) -> frozenset[int]:
    """Return the instructions of a function that may bind a variable anew.

    Args:
        function: the function.
        name: the variable, `self.key` and the like included.
    """
    flow = function.flow
    found = set(flow.stores(name)) | set(flow.stores(_root(name)))
    for node in function.own:
        if isinstance(node, ast.Call) and any(
            isinstance(each, ast.Call)
            and last_name(each.func) in ADDRESSES
            and each.args
            and ast.unparse(each.args[0]) == name
            for each in node.args
        ):
            found.update(flow.calls(span(node)))  # it is given the variable's address
    return frozenset(found)


# --- parts ----------------------------------------------------------------------------------------


def _is_silent(
    node: ast.AST,
    function: Function,
    names: Names,
    owners: set[str],
    *,
    shared: bool,
    depth: int,
    passed: Collection[ast.AST] = (),
) -> bool:
    """Return whether nothing in a definition can release what some names hold."""
    releasing = names.functions | names.methods
    source = function.source
    scope = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function.node
    for each in ast.walk(node):
        if each in passed:
            continue
        if isinstance(each, ast.Attribute | ast.Name):
            name = last_name(each)
            if name in names.functions:
                return False
            if isinstance(each, ast.Attribute) and owners & set(names_in(each.value)):
                if name in names.methods:
                    return False
                # It may be a property or a method.
                defined = source.definitions(each, scope)
                if defined and not _are_silent(defined, function, names, depth=depth):
                    return False
        elif isinstance(each, ast.With | ast.AsyncWith):
            for item in each.items:
                inside = set(names_in(item.context_expr))
                if item.optional_vars is not None:
                    inside.update(names_in(item.optional_vars))
                if not owners & inside and not shared:
                    continue
                made_by = getattr(item.context_expr, "func", item.context_expr)
                known = source.definitions(made_by, scope) or source.classes.get(last_name(made_by))
                if not known or not _are_silent(known, function, names, depth=depth):
                    return False
        if not isinstance(each, ast.Call):
            continue
        name = last_name(each.func)
        concerned = shared or any(owners & set(names_in(part)) for part in _parts(each))
        if not concerned or _is_harmless(each.func, names):
            continue
        if name in releasing:
            return False
        known = source.definitions(each.func, scope) or source.classes.get(name)
        if not known or not _are_silent(known, function, names, depth=depth):
            return False
    return True


def _is_harmless(function: ast.expr, names: Names) -> bool:
    """Return whether what is called is known to release nothing of the kind."""
    name = last_name(function)
    if isinstance(function, ast.Attribute):
        return name in names.harmless or name in KEEPS or name in ADDRESSES or name[:2] == "c_"
    if name in names.harmless:
        return name[:1].isupper()  # a C function; the methods of bindings have common names
    return name in _HARMLESS or name[:2] == "c_"


def _are_silent(
    definitions: Sequence[ast.AST],
    function: Function,
    names: Names,
    *,
    depth: int,
) -> bool:
    if not depth:
        return False
    return all(
        _is_silent(each, function, names, set(), shared=True, depth=depth - 1)
        for each in definitions
    )


def _led(
    definition: Definition,
    function: Function,
    names: Names,
    depth: int,
) -> str:
    """Return the release function that a definition calls, by itself or through others."""
    given = {
        argument.arg for argument in ast.walk(definition.args) if isinstance(argument, ast.arg)
    }
    further: list[Definition] = []
    for node in ast.walk(definition):
        if not isinstance(node, ast.Call):
            continue
        name = last_name(node.func)
        if name in names.functions:
            return name
        if (
            name in names.methods
            and isinstance(node.func, ast.Attribute)
            and _root(ast.unparse(node.func.value)) in given
        ):
            return name
        if isinstance(node.func, ast.Name) or _root(ast.unparse(node.func)) in given:
            further.extend(function.source.definitions(node.func, definition))
    if depth:
        for each in further:
            if each is not definition:
                found = _led(each, function, names, depth - 1)
                if found:
                    return found
    return ""


def _owners(text: str) -> set[str]:
    """Return the objects that an attribute or item belongs to: `ctx` for `ctx.hHash`."""
    found = set()
    while "." in text or "[" in text:
        text = text[: max(text.rfind("."), text.rfind("["))]
        found.add(text)
    return found


def _root(text: str) -> str:
    return text.partition(".")[0].partition("[")[0]


def _parts(call: ast.Call) -> list[ast.expr]:
    """Return what a call is made on, if anything, and what it is given."""
    parts = [*call.args, *(keyword.value for keyword in call.keywords)]
    if isinstance(call.func, ast.Attribute):
        parts.insert(0, call.func.value)
    return parts
