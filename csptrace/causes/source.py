"""What a function's source says about a handle: where it comes from and what it is bound to.

Everything is read with `ast` from the file as it is now, when a finding is put into words. A file
that cannot be read, or that was changed since, says nothing.
"""

from __future__ import annotations

import ast
import functools
import linecache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

from csptrace import quoting
from csptrace.causes.flow import flow_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from csptrace.causes.flow import Flow, Span

__all__ = [
    "ADDRESSES",
    "KEEPS",
    "Definition",
    "Function",
    "Source",
    "Target",
    "callers_of",
    "function_of",
    "functions_in",
    "is_cast",
    "last_name",
    "names_in",
    "plain",
    "span",
    "wraps",
]

ast.unparse(ast.Pass())  # CPython 3.14 imports what it needs at the first call

_DISPLAYS: Final = (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)
_Scope: TypeAlias = (
    ast.FunctionDef
    | ast.AsyncFunctionDef
    | ast.Lambda
    | ast.Module
    | ast.ClassDef
    | ast.GeneratorExp
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
)
Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS: Final = {
    "<lambda>": ast.Lambda,
    "<genexpr>": ast.GeneratorExp,
    "<listcomp>": ast.ListComp,
    "<setcomp>": ast.SetComp,
    "<dictcomp>": ast.DictComp,
}
_NESTED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
ADDRESSES: Final = frozenset({"byref", "pointer", "addressof", "cast"})
KEEPS: Final = frozenset({"append", "appendleft", "add", "insert", "put", "put_nowait", "extend"})
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_NAMES: Final = (ast.Name, ast.Attribute)
_UNNAMED: Final = frozenset({"__dict__", "__slots__", "getattr", "vars"})
_STACKED: Final = frozenset({"callback", "push", "register"})
_ROUNDS: Final = 3


class Target(NamedTuple):
    """What a handle is bound to by the expression that acquires it.

    Attributes:
        text: the expression (`"hKey"`, `"self.key"`), empty if it is bound to nothing.
        form: `local`, `parameter`, `closure`, `global`, `attribute`, `item`, `returned`,
            `yielded`, `passed` (to a call), `discarded` or `unknown`.
        outlives: whether what it is bound to lives on when the function has ended.
        line: where it is bound.
        shown: the expression as messages quote it, without what could be a secret.
    """

    text: str
    form: str
    outlives: bool
    line: int
    shown: str = ""


class Source:
    """One file, parsed.

    Attributes:
        tree: all of it.
        parents: node → the node around it.
        scopes: name and first line → what has a code object of its own.
        functions: name → the functions and methods with it.
        classes: name → the classes with it.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[tuple[str, int], list[_Scope]] = {}
        self.functions: dict[str, list[Definition]] = {}
        self.classes: dict[str, list[ast.ClassDef]] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                self.scopes.setdefault((node.name, first), []).append(node)
                self.functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                self.scopes.setdefault((node.name, first), []).append(node)
                self.classes.setdefault(node.name, []).append(node)
            else:
                for name, cls in _COMPREHENSIONS.items():
                    if isinstance(node, cls):
                        scope = cast("_Scope", node)
                        line = cast("ast.expr", node).lineno
                        self.scopes.setdefault((name, line), []).append(scope)

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """The names and attributes in the file."""
        return frozenset(
            last_name(node)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )

    def definitions(self, function: ast.expr, scope: ast.AST) -> list[Definition]:
        """Return the functions of the file that a called expression may stand for.

        Args:
            function: what is called.
            scope: the function, or the module, in which it is.

        Returns:
            For a name, those of the innermost scope that has one; for an attribute, all methods of
            that name, or those of the same class for one of `self`.
        """
        candidates = self.functions.get(last_name(function), [])
        if isinstance(function, ast.Attribute):
            methods = [each for each in candidates if isinstance(self.parents[each], ast.ClassDef)]
            home = self.parents.get(scope)
            own = [each for each in methods if self.parents[each] is home]
            is_self = isinstance(function.value, ast.Name) and function.value.id in ("self", "cls")
            return own if own and is_self else methods
        around: ast.AST | None = scope
        while candidates and around is not None:
            found = [each for each in candidates if self.scope_of(each) is around]
            if found and not isinstance(around, ast.ClassDef):
                return found
            around = self.scope_of(around)
        return []

    def scope_of(self, node: ast.AST) -> ast.AST | None:
        """Return the function, class or module around a node."""
        above = self.parents.get(node)
        while above is not None and not isinstance(above, (*_NESTED, ast.Module)):
            above = self.parents.get(above)
        return above


@functools.lru_cache(maxsize=64)
def _parsed(filename: str) -> Source | None:
    try:
        return Source(ast.parse("".join(linecache.getlines(filename)) or "\0"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def function_of(code: CodeType) -> Function | None:
    """Return the source of a function.

    Args:
        code: its code object.

    Returns:
        `None` if the source is not there, or does not fit the code object.
    """
    source = _parsed(code.co_filename)
    if source is None:
        return None
    if code.co_name == "<module>":
        return Function(code, source, source.tree)
    found = source.scopes.get((code.co_name, code.co_firstlineno), [])
    return Function(code, source, found[0]) if len(found) == 1 else None


def functions_in(filename: str) -> frozenset[str]:
    """Return the names of all functions and methods that a file defines."""
    source = _parsed(filename)
    return frozenset() if source is None else frozenset(source.functions)


def callers_of(filename: str, names: frozenset[str]) -> frozenset[str]:
    """Return which functions and methods of a file call one of these names themselves."""
    source = _parsed(filename)
    if source is None:
        return frozenset()
    return frozenset(
        name
        for name, definitions in source.functions.items()
        for definition in definitions
        if any(
            isinstance(node, ast.Call) and last_name(node.func) in names
            for node in ast.walk(definition)
        )
    )


class Guard(NamedTuple):
    """What stands around a statement and may keep a function from it.

    Attributes:
        sort: `condition`, `handler` (the statement stands in one) or `try` (it stands in the body
            of one, behind what may raise).
        line: its line; that of the first handler for a `try`.
        tests: what decides, for a condition.
        branch: the statements that are run together with it; for a `try` those of the handlers.
        several: whether a `try` has more than one handler.
    """

    sort: str
    line: int
    tests: tuple[ast.AST, ...]
    branch: tuple[ast.AST, ...]
    several: bool = False


def _try(node: ast.Try) -> Guard:
    branch = tuple(each for handler in node.handlers for each in handler.body)
    return Guard("try", node.handlers[0].lineno, (), branch, len(node.handlers) > 1)


def _branch(guard: ast.AST, child: ast.AST) -> tuple[ast.AST, ...]:
    """Return the part of an `if`, `while`, `case` or conditional expression with a child in it."""
    for field in ("body", "orelse"):
        part = getattr(guard, field, ())
        if child is part:
            return (child,)
        if isinstance(part, list) and child in part:
            return tuple(part)
    return ()


def _leaves(statement: ast.stmt) -> bool:
    """Return whether a statement may leave the sequence in which it stands."""
    leaving = ast.Return | ast.Raise | ast.Break | ast.Continue | ast.Yield | ast.YieldFrom
    return any(isinstance(each, leaving) for each in ast.walk(statement))


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _binds(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement binds."""
    for each in ast.walk(statement):
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            yield each.id
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.alias):
            yield (each.asname or each.name).partition(".")[0]
        elif isinstance(each, ast.ExceptHandler) and each.name:
            yield each.name


def _gets_at(statement: ast.stmt, names: frozenset[str]) -> bool:
    """Return whether a statement gets at what one of some names holds, as far as names tell."""
    if names & set(names_in(statement)):
        return True
    owners = {name.rpartition(".")[0] for name in names} - {""}
    for each in ast.walk(statement):
        if isinstance(each, ast.Call):
            parts = [*each.args, *(keyword.value for keyword in each.keywords)]
            if isinstance(each.func, ast.Attribute):
                parts.append(each.func.value)
            if owners & {ast.unparse(plain(part)) for part in parts}:
                return True
    return False


def _stands_alone(moved: ast.stmt, first: ast.stmt) -> bool:
    """Return whether neither statement shares a line with the other."""
    return (first.end_lineno or first.lineno) < moved.lineno


class Function:
    """The source of one function.

    Args:
        code: its code object.
        source: the file.
        node: its definition.

    Attributes:
        own: the nodes of its own code, without the functions defined in it.
    """

    def __init__(self, code: CodeType, source: Source, node: _Scope) -> None:
        self.code = code
        self.source = source
        self.node = node
        self.own = list(_within(node))
        self._nodes = set(self.own)

    @property
    def flow(self) -> Flow:
        """Its control flow."""
        return flow_of(self.code)

    @property
    def home(self) -> ast.ClassDef | None:
        """The class whose method it is, `None` if it is none."""
        above = self.source.parents.get(self.node)
        return above if isinstance(above, ast.ClassDef) else None

    # --- places -------------------------------------------------------------------------------

    def call_at(self, offset: int, line: int) -> ast.Call | None:
        """Return the call that an instruction makes.

        Args:
            offset: the instruction's, in bytes; negative if it is not known.
            line: the instruction's line.
        """
        calls = [node for node in self.own if isinstance(node, ast.Call)]
        if offset >= 0:
            at = self.flow.span_at(offset)
            for call in calls:
                if at == span(call):
                    return call
            for item in self.own:  # `with acquire() as handle:`
                if isinstance(item, ast.With | ast.AsyncWith):
                    for each in item.items:
                        context = each.context_expr
                        if isinstance(context, ast.Call) and at[0] == context.lineno:
                            return context
        on_line = [call for call in calls if call.lineno <= line <= (call.end_lineno or 0)]
        return on_line[-1] if len(on_line) == 1 else None

    def with_at(self, offset: int) -> ast.withitem | None:
        """Return the item of a `with` that an instruction ends."""
        at = self.flow.at(offset)
        for node in self.own:
            if isinstance(node, ast.With | ast.AsyncWith):
                for item in node.items:
                    if at in self.ends_of(item.context_expr):
                        return item
        return None

    def ends_of(self, context: ast.expr) -> frozenset[int]:
        """Return the instructions that end the `with` which has a context expression."""
        item = self.source.parents[context]
        whole = self.source.parents[item]
        if not isinstance(whole, ast.With | ast.AsyncWith):
            return frozenset()
        places = [span(each.context_expr) for each in whole.items]
        index = next(n for n, each in enumerate(whole.items) if each is item)
        return self.flow.ends_of_with(places, span(whole), index)

    def ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield the statements around a node, with the child through which each is reached."""
        parents = self.source.parents
        while node is not self.node and node in parents:
            above = parents[node]
            yield above, node
            node = above

    def is_guarded(self, node: ast.AST) -> bool:
        """Return whether something of this function runs when a node raises."""
        for above, child in self.ancestors(node):
            if above not in self._nodes:
                return False
            if isinstance(above, ast.Try | ast.TryStar | ast.With | ast.AsyncWith) and (
                child in above.body or child not in getattr(above, "finalbody", ())
            ):
                return True
        return False

    def loop_around(self, node: ast.AST) -> ast.For | ast.AsyncFor | ast.While | None:
        """Return the innermost loop of this function around a node."""
        for above, child in self.ancestors(node):
            if above not in self._nodes:
                return None
            if isinstance(above, ast.For | ast.AsyncFor | ast.While) and child in above.body:
                return above
        return None

    def node_at(self, offset: int) -> ast.AST | None:
        """Return the innermost expression or statement that an instruction belongs to."""
        where = self.flow.span_at(offset)
        around = [
            each
            for each in self.own
            if isinstance(each, ast.expr | ast.stmt)
            and span(each)[:2] <= where[:2]
            and where[2:] <= span(each)[2:]
        ]
        return around[-1] if around and where[2] else None

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """Return the innermost statement around a node; none that has statements of its own."""
        while not isinstance(node, ast.stmt):
            above = self.source.parents.get(node)
            if above is None:
                return None
            node = above
        return None if hasattr(node, "body") or isinstance(node, ast.Try) else node

    def bound_line(self, names: frozenset[str], first: int, last: int) -> int:
        """Return the last line between two at which one of some names is bound.

        Args:
            names: the names.
            first: the line that is returned if there is none.
            last: the line before which it has to stand.
        """
        lines = [
            node.lineno
            for node in self.own
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and names & {each for part in _targets(node) for each in names_in(part)}
        ]
        return max((line for line in lines if first < line < last), default=first)

    def is_in_finally(self, node: ast.AST) -> bool:
        """Return whether a node stands in a `finally` of this function."""
        return any(
            isinstance(above, ast.Try) and child in above.finalbody
            for above, child in self.ancestors(node)
        )

    def is_cleaned_up_at(self, node: ast.AST, line: int) -> bool:
        """Return whether a line stands in the `finally` of a `try` around a node."""
        return any(
            isinstance(above, ast.Try)
            and child in above.body
            and above.finalbody
            and above.finalbody[0].lineno <= line <= (above.finalbody[-1].end_lineno or 0)
            for above, child in self.ancestors(node)
        )

    def movable(
        self, node: ast.AST, line: int, given: frozenset[str]
    ) -> tuple[int, int, int] | None:
        """Return which lines have to be moved in front of which one to have a node come first.

        Args:
            node: the node.
            line: that of the statement which comes before it now.
            given: the names of what the node releases; nothing in between may need that.

        Returns:
            The first and the last line to be moved, and the line in front of which; `None` if the
            two do not stand in one sequence of statements, or if it would change anything else.
        """
        around = [node, *(above for above, _ in self.ancestors(node))]
        for block in self._blocks():
            moved = next((each for each in block if each in around), None)
            first = next((s for s in block if s.lineno <= line <= (s.end_lineno or s.lineno)), None)
            if moved is None or first is None or moved is first:
                continue
            index, other = block.index(first), block.index(moved)
            if index > other or _leaves(moved):
                return None
            bound = {name for each in block[index:other] for name in _binds(each)}
            used = {each.id for each in ast.walk(moved) if isinstance(each, ast.Name)}
            if bound & used or any(_gets_at(each, given) for each in block[index:other]):
                return None
            if not _stands_alone(moved, first):
                return None
            return moved.lineno, moved.end_lineno or moved.lineno, first.lineno
        return None

    def loop_between(self, call: ast.Call, release: ast.AST) -> int:
        """Return the line of the outermost loop around a call and not a release, 0 without one."""
        inside = {each for each, _ in self.ancestors(release)}
        found = 0
        for above, _ in self.ancestors(call):
            if above in self._nodes and isinstance(above, ast.For | ast.AsyncFor | ast.While):
                found = found if above in inside else above.lineno
        return found

    def may_try_after(self, call: ast.Call, release: ast.AST | None) -> bool:
        """Return whether a `try` can begin behind a call and end behind a release.

        Args:
            call: the call.
            release: the release, `None` for none.
        """
        for above, child in self.ancestors(call):
            if isinstance(above, ast.If | ast.While | ast.Match) and not isinstance(
                child, ast.stmt
            ):
                return False  # it stands in the condition
            if isinstance(above, ast.For | ast.AsyncFor | ast.With | ast.AsyncWith):
                inside = {each for each, _ in self.ancestors(release)} if release else {above}
                return isinstance(child, ast.stmt) or above in inside
            if isinstance(above, ast.stmt):
                return True
        return False

    def whole(
        self, node: ast.AST, call: ast.AST | None, line: int, *, guarded: bool
    ) -> tuple[int, int]:
        """Return the lines that a release consists of, with the loop or condition around it.

        Args:
            node: the release.
            call: the acquisition, which is no part of it.
            line: where the function was left, which is not either.
            guarded: whether a condition around it belongs to it.
        """
        found = (cast("ast.expr", node).lineno,) * 2
        around = set() if call is None else {above for above, _ in self.ancestors(call)}
        for above, _ in self.ancestors(node):
            if above in around or above not in self._nodes or isinstance(above, ast.Try):
                break
            if not guarded and isinstance(above, ast.If | ast.IfExp | ast.Match):
                break
            if isinstance(above, ast.stmt):
                last = above.end_lineno or above.lineno
                if above.lineno <= line <= last or _leaves(above):
                    break
                found = above.lineno, last
        return found

    def _blocks(self) -> Iterator[list[ast.stmt]]:
        """Yield the sequences of statements of this function, the innermost last."""
        for node in (self.node, *self.own):
            for field in ("body", "orelse", "finalbody"):
                block = getattr(node, field, None)
                if isinstance(block, list) and (node is self.node or not isinstance(node, _NESTED)):
                    yield block

    def same_receiver(self, one: int, other: int) -> bool:
        """Return whether two calls of methods are made on the same object, as far as names tell.

        Args:
            one: the offset of one call, in bytes.
            other: that of the other.
        """
        texts = []
        for offset in (one, other):
            call = self.call_at(offset, 0)
            if call is None or not isinstance(call.func, ast.Attribute):
                return False
            loop = self.loop_around(call)
            root = names_in(call.func.value)[-1:]
            if loop is not None and any(
                isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in root
                for node in ast.walk(loop)
            ):
                return False  # another object in each round
            texts.append(ast.unparse(call.func.value))
        return texts[0] == texts[1]

    def guards(self, node: ast.AST, other: ast.AST | None) -> list[Guard]:
        """Return what may keep a node from being reached from another one, innermost first.

        Args:
            node: the node, a release.
            other: the acquisition.
        """
        around = set() if other is None else {above for above, _ in self.ancestors(other)}
        found = []
        for above, child in self.ancestors(node):
            if above not in self._nodes or above in around:
                if isinstance(above, ast.Try) and child in above.body and above.handlers:
                    found.append(_try(above))
                if above not in self._nodes:
                    break
                continue
            if isinstance(above, ast.ExceptHandler):
                found.append(Guard("handler", above.lineno, (), tuple(above.body)))
            elif isinstance(above, ast.If | ast.While | ast.IfExp | ast.match_case):
                if isinstance(above, ast.While) and child in above.orelse:
                    continue  # a `break` keeps from it, too
                branch = _branch(above, child)
                if branch:
                    decides = (above.pattern if isinstance(above, ast.match_case) else above.test,)
                    found.append(Guard("condition", decides[0].lineno, decides, branch))
            elif isinstance(above, ast.Try) and child in above.body and above.handlers:
                found.append(_try(above))
        return found

    def excludes(self, one: ast.AST, other: ast.AST) -> bool:
        """Return whether no run can come to two nodes, since a condition would have to change.

        Args:
            one: a node.
            other: another one.
        """
        for test, holds in self._conditions(one):
            names = set(names_in(test))
            if any(isinstance(each, ast.Call | ast.Attribute) for each in ast.walk(test)) or any(
                self.flow.stores(name) for name in names
            ):
                continue  # it may be another one each time
            if (ast.unparse(test), not holds) in {
                (ast.unparse(each), met) for each, met in self._conditions(other)
            }:
                return True
        return False

    def _conditions(self, node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
        """Yield the conditions around a node, and whether each holds there."""
        for above, child in self.ancestors(node):
            if isinstance(above, ast.If) and child is not above.test:
                test, holds = above.test, child in above.body
                while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                    test, holds = test.operand, not holds
                yield test, holds

    def catches(self, line: int) -> int:
        """Return the line of the handler that catches what is raised at a line, 0 if none does."""
        best = 0
        for node in self.own:
            if isinstance(node, ast.Try) and node.handlers:
                first, last = node.body[0].lineno, node.body[-1].end_lineno or 0
                if first <= line <= last:
                    best = node.handlers[0].lineno if len(node.handlers) == 1 else node.lineno
        return best

    def return_behind(self, offset: int) -> int:
        """Return the line of the `return` that a clean-up is run for.

        The compiler copies a `finally`, or the exit of a `with`, behind each `return` that passes
        it, and all of the copy, the returning instruction too, has the lines of the clean-up.

        Args:
            offset: an instruction, in bytes.

        Returns:
            The line, 0 if the instruction is not part of a clean-up for a `return`.
        """
        cleanups: set[int] = set()
        returns: dict[int, int] = {}
        for node in self.own:
            if isinstance(node, ast.Try) and node.finalbody:
                last = node.finalbody[-1].end_lineno or 0
                cleanups.update(range(node.finalbody[0].lineno, last + 1))
            elif isinstance(node, ast.With | ast.AsyncWith):
                cleanups.update(range(node.lineno, node.body[0].lineno))
            elif isinstance(node, ast.Return):
                whole = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                returns.update(dict.fromkeys(whole, node.lineno))
        flow = self.flow
        found: set[int] = set()
        seen, todo = set(), [flow.at(offset)]
        while todo:
            for at in flow.straight_before(todo.pop()):
                if at in seen:
                    continue
                seen.add(at)
                line = flow.lines.get(at)
                if line is None or line in cleanups:
                    todo.append(at)
                else:
                    found.add(returns.get(line, 0))
        return found.pop() if len(found) == 1 else 0

    def is_return(self, line: int) -> bool:
        """Return whether a line belongs to a `return`."""
        return any(
            isinstance(node, ast.Return) and node.lineno <= line <= (node.end_lineno or node.lineno)
            for node in self.own
        )

    def parameter(self, text: str) -> tuple[str, int] | None:
        """Return which parameter an expression belongs to: its name and position.

        Args:
            text: the expression (`"ctx.hHash"` belongs to `ctx`).
        """
        root = text.partition(".")[0].partition("[")[0]
        names = self.code.co_varnames[: self.code.co_argcount + self.code.co_kwonlyargcount]
        if root not in names:
            return None
        return root, names.index(root) if root in names[: self.code.co_argcount] else -1

    def argument(self, call: ast.Call, name: str, position: int) -> Target | None:
        """Return what a call passes for a parameter, `None` if that cannot be told.

        Args:
            call: the call.
            name: the parameter.
            position: its position, -1 if it has none.
        """
        for keyword in call.keywords:
            if keyword.arg == name:
                return self._of(self._pointed_at(keyword.value, call.lineno), call.lineno)
        if name in ("self", "cls") and position == 0:
            if isinstance(call.func, ast.Attribute):
                return self._of(call.func.value, call.lineno)
            return self._bound(call)  # the object that a constructor makes
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            return None
        if isinstance(call.func, ast.Attribute) and self._is_method(call):
            position -= 1
        if 0 <= position < len(call.args):
            return self._of(self._pointed_at(call.args[position], call.lineno), call.lineno)
        return None

    def _is_method(self, call: ast.Call) -> bool:
        """Return whether the called function takes the object in front as its first parameter."""
        for definition in self.source.definitions(call.func, self.node):
            if isinstance(self.source.parents.get(definition), ast.ClassDef):
                first = definition.args.args[:1]
                return bool(first) and first[0].arg in ("self", "cls")
        return False

    # --- what a handle is bound to ------------------------------------------------------------

    def target(self, call: ast.Call, out: int | None) -> Target:
        """Return what a call binds its handle to.

        Args:
            call: the call.
            out: the position of its out parameter, `None` if it returns the handle.
        """
        if out is not None and out < len(call.args):
            return self._of(self._pointed_at(call.args[out], call.lineno), call.lineno)
        return self._bound(call)

    def _pointed_at(self, argument: ast.expr, line: int) -> ast.expr:
        for _ in range(_ROUNDS):
            if (
                isinstance(argument, ast.Call)
                and last_name(argument.func) in ADDRESSES
                and argument.args
            ):
                argument = argument.args[0]
            elif isinstance(argument, ast.Name):
                value = self._assigned(argument.id, line)
                if isinstance(value, ast.Call) and last_name(value.func) in ADDRESSES:
                    argument = value
                else:
                    break
            else:
                break
        return argument

    def _assigned(self, name: str, line: int) -> ast.expr | None:
        """Return what a name was last assigned before a line."""
        found: ast.expr | None = None
        for node in self.own:
            if isinstance(node, ast.Assign) and node.lineno <= line:
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        found = node.value
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for left, right in zip(target.elts, node.value.elts, strict=False):
                            if isinstance(left, ast.Name) and left.id == name:
                                found = right
        return found

    def is_wrapped(self, call: ast.Call) -> bool:
        """Return whether what a call returns is put into something else before that is bound."""
        for above, child in self.ancestors(call):
            if isinstance(above, ast.stmt):
                return False
            if isinstance(above, ast.Call) and child is not above.func and not is_cast(above):
                return True
            if isinstance(above, _DISPLAYS) or (
                isinstance(above, ast.Tuple) and self._unpacked(above) is None
            ):
                return True
        return False

    def _unpacked(self, display: ast.Tuple) -> ast.Tuple | None:
        """Return the names among which the parts of a tuple are shared out."""
        above = self.source.parents.get(display)
        if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Tuple):
            return above.targets[0]
        return None

    def is_in_an_expression(self, node: ast.expr) -> bool:
        """Return whether an expression may keep a call in it from being made."""
        for above, child in self.ancestors(node):
            if isinstance(above, ast.stmt):
                return False
            if isinstance(above, ast.BoolOp) and child is not above.values[0]:
                return True
            if isinstance(above, ast.IfExp) and child is not above.test:
                return True
        return False

    def _bound(self, node: ast.expr) -> Target:
        """Follow an expression outwards to what it is bound to."""
        line = node.lineno
        child: ast.AST = node
        part: ast.AST = node
        for above, _ in self.ancestors(node):
            if isinstance(above, ast.Tuple):
                part = child
            if isinstance(above, ast.Assign):
                target = above.targets[0]
                if isinstance(target, ast.Tuple) and isinstance(above.value, ast.Tuple):
                    pairs = zip(target.elts, above.value.elts, strict=False)
                    target = next((left for left, right in pairs if right is part), target)
                return self._of(target, above.lineno)
            if isinstance(above, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
                return self._of(above.target, above.lineno)
            if isinstance(above, ast.withitem):
                if above.optional_vars is None:
                    return Target("", "unknown", False, line)
                return self._of(above.optional_vars, line)
            if isinstance(above, ast.For | ast.AsyncFor) and child is above.iter:
                return self._of(above.target, line)
            if isinstance(above, ast.comprehension) and child is above.iter:
                return Target(ast.unparse(above.target), "local", False, line)
            if isinstance(above, ast.Return):
                return Target("", "returned", True, line)
            if isinstance(above, ast.Yield | ast.YieldFrom):
                return Target("", "yielded", True, line)
            if isinstance(above, ast.Expr):
                return Target("", "discarded", False, line)
            if isinstance(above, ast.Call) and child is not above.func:
                if isinstance(above.func, ast.Attribute) and above.func.attr in KEEPS:
                    owner = self._of(above.func.value, line)
                    return owner._replace(form="item", text=owner.text)
                if not wraps(above):
                    return Target("", "passed", False, line)
            elif isinstance(above, ast.Attribute | ast.Compare | ast.Subscript | ast.stmt):
                return Target("", "unknown", False, line)
            child = above
        return Target("", "unknown", False, line)

    def _of(self, node: ast.expr, line: int) -> Target:
        text = ast.unparse(node)
        root = node
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Starred):
            root = root.value
        form, outlives = "unknown", False
        if isinstance(root, ast.Name):
            form = self._form(root.id)
            outlives = form != "local"
        if isinstance(node, ast.Attribute):
            form = "attribute"
        elif isinstance(node, ast.Subscript):
            form = "item"
        return Target(text, form, outlives, line, quoting.expression(node))

    def _form(self, name: str) -> str:
        code = self.code
        if code.co_name == "<module>":
            return "global"
        if name in code.co_freevars:
            return "closure"
        count = code.co_argcount + code.co_kwonlyargcount
        if name in code.co_varnames[:count]:
            return "parameter"
        return "local" if name in (*code.co_varnames, *code.co_cellvars) else "global"

    def shared(self, target: Target, other: Function) -> Target | None:
        """Return what a variable of another function is called in this one, if both share it.

        Args:
            target: the variable, an attribute of it included.
            other: the function that has it, in the same file.
        """
        root = target.text.partition(".")[0].partition("[")[0]
        if other.source is not self.source:
            return None
        mine = (*self.code.co_varnames, *self.code.co_cellvars, *self.code.co_freevars)
        theirs = (*other.code.co_varnames, *other.code.co_cellvars, *other.code.co_freevars)
        if root not in theirs and root not in mine:  # both mean that of the module
            return target._replace(form=self._form(root))
        inner, outer = sorted((self.code, other.code), key=lambda code: -len(code.co_qualname))
        around = outer.co_qualname + ".<locals>."
        nested = inner.co_qualname.startswith(around)
        if nested and root in inner.co_freevars and root in outer.co_cellvars + outer.co_freevars:
            return target._replace(form=self._form(root))
        return None

    def copied(self, text: str, first: int, last: int) -> bool:
        """Return whether a variable's handle is put into something else between two lines.

        Args:
            text: the variable.
            first: the first line.
            last: the last line.
        """
        for node in self.own:
            if not first <= getattr(node, "lineno", 0) <= last:
                continue
            value: ast.expr | None = None
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.Yield):
                value = node.value
            elif (
                isinstance(node, ast.Call)
                and last_name(node.func) in KEEPS
                and any(text in names_in(argument) for argument in node.args)
            ):
                return True
            if value is None or text not in names_in(value):
                continue
            # What a call makes of it is a copy only if it holds what it is given.
            if not isinstance(value, ast.Call) or wraps(value):
                return True
        return False

    def kept_in(self, text: str, after: int) -> list[tuple[Target, ast.stmt]]:
        """Return where a local variable's handle is stored, if that outlives the function.

        Args:
            text: the variable.
            after: the line of the acquisition, from which on it is looked for.

        Returns:
            What it is stored in, and the statement that does it.
        """
        found = []
        for node in self.own:
            if getattr(node, "lineno", 0) < after:
                continue
            target: Target | None = None
            if isinstance(node, ast.Assign) and text in names_in(node.value):
                if isinstance(node.value, ast.Call) and not wraps(node.value):
                    continue
                target = next(filter(None, map(self._outliving, node.targets)), None)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in KEEPS
                and any(text in names_in(argument) for argument in node.args)
            ):
                owner = self._of(node.func.value, node.lineno)
                target = owner._replace(form="item") if owner.outlives else None
            statement = self.statement(node)
            if target is not None and statement is not None:
                found.append((target, statement))
        return found

    def _outliving(self, node: ast.expr) -> Target | None:
        """Return what an assignment stores in, if that outlives the function."""
        if isinstance(node, ast.Name) and self._form(node.id) == "local":
            return None
        if not isinstance(node, ast.Attribute | ast.Subscript | ast.Name):
            return None
        found = self._of(node, node.lineno)
        return found if found.outlives else None

    def hands_on(self, text: str, *, yields: bool) -> bool:
        """Return whether a function returns what a variable holds, on some path.

        Args:
            text: the variable.
            yields: whether to yield it counts, too.
        """
        return any(
            isinstance(node, ast.Return | ast.Yield | ast.YieldFrom if yields else ast.Return)
            and node.value is not None
            and text in names_in(node.value)
            and (not isinstance(node.value, ast.Call) or wraps(node.value))
            for node in self.own
        )

    # --- objects and calls ----------------------------------------------------------------------

    def is_own(self, text: str) -> bool:
        """Return whether an expression is an attribute of the object whose method this is."""
        code = self.code
        return (
            self.home is not None
            and code.co_argcount > 0
            and text.startswith(f"{code.co_varnames[0]}.")
        )

    def end_of_home(self) -> str:
        """Return the method with which a `with` on an object of its class ends, empty if none."""
        for method in self.home.body if self.home is not None else ():
            if isinstance(method, _FUNCTIONS) and method.name in ("__exit__", "__aexit__"):
                assert self.home is not None  # noqa: S101 - for the type checker
                return f"{self.home.name}.{method.name}"
        return ""

    def same_attribute(self, target: Target, other: Function) -> Target | None:
        """Return what an attribute of the object of a method is called in another method.

        Args:
            target: the attribute.
            other: the method that has it.
        """
        code = self.code
        if self.home is None or self.home is not other.home or not other.is_own(target.text):
            return None
        if not code.co_argcount:
            return None
        text = code.co_varnames[0] + target.text[target.text.index(".") :]
        return target._replace(text=text, shown=text)

    def forgetful(self, attribute: str, names: frozenset[str]) -> list[tuple[Definition, str, int]]:
        """Return the methods of the same class that release something, but never look at this.

        Args:
            attribute: what they do not mention.
            names: the functions and methods that release this kind of handle.

        Returns:
            The definition of each, with the name and the line of the release in it; nothing if a
            method may get at attributes in another way than by their names.
        """
        found = []
        for method in self.home.body if self.home is not None else ():
            if method is self.node or not isinstance(method, _FUNCTIONS):
                continue
            words = {last_name(each) for each in ast.walk(method) if isinstance(each, _NAMES)}
            if words & _UNNAMED:
                return []
            if attribute in words:
                continue
            for node in ast.walk(method):
                if isinstance(node, ast.Call) and last_name(node.func) in names:
                    found.append((method, last_name(node.func), node.lineno))
                    break
        return found

    def passed_as(self, call: ast.Call, text: str, callee: CodeType) -> str:
        """Return what a called function knows an expression as, empty if it is not given it.

        Args:
            call: the call.
            text: the expression.
            callee: the called function.
        """
        count = callee.co_argcount
        names = callee.co_varnames[:count]
        keywords = callee.co_varnames[: count + callee.co_kwonlyargcount]
        bound = bool(names) and names[0] in ("self", "cls") and len(call.args) < count
        given = dict(zip(names[1:] if bound else names, call.args, strict=False))
        given |= {each.arg: each.value for each in call.keywords if each.arg in keywords}
        if bound and isinstance(call.func, ast.Attribute):
            given[names[0]] = call.func.value
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            return ""
        for name, value in given.items():
            whole = ast.unparse(plain(value))
            if text == whole:
                return name
            if text.startswith((f"{whole}.", f"{whole}[")):
                return name + text[len(whole) :]
        return ""

    def registers_later(self, call: ast.Call, name: str) -> int:
        """Return the line at which something is registered after a call, at the same place.

        Args:
            call: the call that registers something (`stack.callback(…)`, `atexit.register(…)`).
            name: the function that is registered afterwards.

        Returns:
            The line, 0 if there is none or more than one, or if the place does not call first what
            was registered last.
        """
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in _STACKED:
            return 0
        found = [
            node
            for node in self.own
            if isinstance(node, ast.Call)
            and node is not call
            and ast.unparse(node.func) == ast.unparse(call.func)
            and any(
                isinstance(each, ast.Attribute | ast.Name) and last_name(each) == name
                for argument in node.args
                for each in ast.walk(argument)
            )
        ]
        if len(found) != 1 or self.loop_around(call) or self.loop_around(found[0]):
            return 0
        flow = self.flow
        later = flow.after(flow.calls(span(call)))
        return found[0].lineno if flow.calls(span(found[0])) & later else 0


def span(node: ast.AST) -> Span:
    """Return where an expression or statement stands."""
    where = cast("ast.expr", node)
    return (
        where.lineno,
        where.col_offset,
        where.end_lineno or where.lineno,
        where.end_col_offset or 0,
    )


def plain(node: ast.expr) -> ast.expr:
    """Return what an expression is about: `h` for `c_void_p(h.value)`."""
    while True:
        if isinstance(node, ast.Call) and wraps(node) and len(node.args) == 1:
            node = node.args[0]
        elif isinstance(node, ast.Attribute) and node.attr == "value":
            node = node.value
        else:
            return node


def wraps(call: ast.Call) -> bool:
    """Return whether a call makes an object that holds its argument, as a class or a cast does."""
    name = last_name(call.func)
    return name[:1].isupper() or name.startswith("c_") or name in ADDRESSES


def is_cast(call: ast.Call) -> bool:
    """Return whether a call makes a handle of its argument again, and no object that holds it."""
    name = last_name(call.func)
    return name.startswith("c_") or name.isupper() or name in ADDRESSES


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function's own code, without the functions defined in it."""
    todo: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        todo = list(reversed(node.body))
    while todo:
        each = todo.pop()
        yield each
        if not isinstance(each, _NESTED):
            todo.extend(reversed(list(ast.iter_child_nodes(each))))


def last_name(node: ast.expr) -> str:
    """Return the name at the end of `name` or `….name`, empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def names_in(node: ast.AST) -> list[str]:
    """Return the names and attribute chains in an expression."""
    return [
        ast.unparse(each)
        for each in ast.walk(node)
        if isinstance(each, ast.Name | ast.Attribute | ast.Subscript)
    ]
