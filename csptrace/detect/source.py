"""What a function's source says about a handle: what it is bound to, and where it is released.

Everything is read with `ast` from the file as it is now, when a finding is put into words. A file
that cannot be read, or that was changed since, says nothing.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

from csptrace import quoting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["Function", "Release", "Target", "function_of"]

ast.unparse(ast.Pass())  # CPython 3.14 imports what it needs at the first call

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
_COMPREHENSIONS: Final = {
    "<lambda>": ast.Lambda,
    "<genexpr>": ast.GeneratorExp,
    "<listcomp>": ast.ListComp,
    "<setcomp>": ast.SetComp,
    "<dictcomp>": ast.DictComp,
}
_NESTED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_ADDRESSES: Final = frozenset({"byref", "pointer", "addressof", "cast"})
_KEEPS: Final = frozenset({"append", "appendleft", "add", "insert", "put", "put_nowait", "extend"})
_ROUNDS: Final = 3
_LONGEST: Final = 40
_JUMPS: Final = frozenset((*dis.hasjrel, *dis.hasjabs))
_TERMINATORS: Final = frozenset(
    {
        "RETURN_VALUE",
        "RETURN_CONST",
        "RERAISE",
        "RAISE_VARARGS",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
    }
)


class Target(NamedTuple):
    """What a handle is bound to by the expression that acquires it.

    Attributes:
        text: the expression (`"hKey"`, `"self.key"`), empty if it is bound to nothing.
        form: `local`, `parameter`, `closure`, `global`, `attribute`, `item`, `returned`,
            `yielded`, `discarded` or `unknown`.
        outlives: whether what it is bound to lives on when the function has ended.
        line: where it is bound.
        shown: the expression as messages quote it, without what could be a secret.
    """

    text: str
    form: str
    outlives: bool
    line: int
    shown: str = ""


class Release(NamedTuple):
    """A call that releases a handle, or that leads to one.

    Attributes:
        name: what is called.
        through: the release function that it calls in the end, empty if it is one itself.
        line: where.
        node: the expression.
    """

    name: str
    through: str
    line: int
    node: ast.AST


class _Source:
    """One file, parsed."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[tuple[str, int], list[_Scope]] = {}
        self.functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
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
            else:
                for name, cls in _COMPREHENSIONS.items():
                    if isinstance(node, cls):
                        scope = cast("_Scope", node)
                        line = cast("ast.expr", node).lineno
                        self.scopes.setdefault((name, line), []).append(scope)


@functools.lru_cache(maxsize=64)
def _parsed(filename: str) -> _Source | None:
    try:
        return _Source(ast.parse("".join(linecache.getlines(filename)) or "\0"))
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


class Function:
    """The source of one function.

    Args:
        code: its code object.
        source: the file.
        node: its definition.
    """

    def __init__(self, code: CodeType, source: _Source, node: _Scope) -> None:
        self.code = code
        self._source = source
        self._node = node
        self._own = list(_within(node))
        self._nodes = set(self._own)

    # --- places -------------------------------------------------------------------------------

    def call_at(self, offset: int, line: int) -> ast.Call | None:
        """Return the call that an instruction makes.

        Args:
            offset: the instruction's, in bytes; negative if it is not known.
            line: the instruction's line.
        """
        calls = [node for node in self._own if isinstance(node, ast.Call)]
        if offset >= 0:
            positions = _position(self.code, offset)
            for call in calls:
                if positions == (
                    call.lineno,
                    call.end_lineno,
                    call.col_offset,
                    call.end_col_offset,
                ):
                    return call
            for item in self._own:  # `with acquire() as handle:`
                if isinstance(item, ast.With | ast.AsyncWith):
                    for each in item.items:
                        context = each.context_expr
                        if isinstance(context, ast.Call) and positions[0] == context.lineno:
                            return context
        on_line = [call for call in calls if call.lineno <= line <= (call.end_lineno or 0)]
        return on_line[-1] if len(on_line) == 1 else None

    def ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield the statements around a node, with the child through which each is reached."""
        parents = self._source.parents
        while node is not self._node and node in parents:
            above = parents[node]
            yield above, node
            node = above

    def loop_around(self, node: ast.AST) -> ast.AST | None:
        """Return the innermost loop of this function around a node."""
        for above, child in self.ancestors(node):
            if above not in self._nodes:
                return None
            if isinstance(above, _LOOPS) and child in above.body:
                return above
        return None

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
            root = _names_in(call.func.value)[-1:]
            if loop is not None and any(
                isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in root
                for node in ast.walk(loop)
            ):
                return False  # another object in each round
            texts.append(ast.unparse(call.func.value))
        return texts[0] == texts[1]

    def guard(self, node: ast.AST, other: ast.AST | None) -> tuple[str, int]:
        """Return what may keep a node from being reached from another one.

        Args:
            node: the node, a release.
            other: the acquisition.

        Returns:
            `"condition"`, `"handler"` (it stands in one), `"handled"` (it stands in a `try` whose
            handler goes on) or `""`, and the line of that.
        """
        around = set() if other is None else {above for above, _ in self.ancestors(other)}
        for above, child in self.ancestors(node):
            if above not in self._nodes:
                break
            if isinstance(above, ast.ExceptHandler) and above not in around:
                return "handler", above.lineno
            if isinstance(above, ast.If | ast.While | ast.IfExp | ast.match_case):
                inside = above in around
                if not inside and child is not getattr(above, "test", None):
                    line = getattr(above, "lineno", 0) or getattr(child, "lineno", 0)
                    return "condition", line
            if isinstance(above, ast.Try) and child in above.body and above.handlers:
                return "handled", above.handlers[0].lineno
        return "", 0

    def catches(self, line: int) -> int:
        """Return the line of the handler that catches what is raised at a line, 0 if none does."""
        best = 0
        for node in self._own:
            if isinstance(node, ast.Try) and node.handlers:
                first, last = node.body[0].lineno, node.body[-1].end_lineno or 0
                if first <= line <= last:
                    best = node.handlers[0].lineno if len(node.handlers) == 1 else node.lineno
        return best

    def suppresses(self, line: int) -> bool:
        """Return whether a line stands in a `with`, which may swallow an exception."""
        return any(
            isinstance(node, ast.With | ast.AsyncWith)
            and node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0)
            for node in self._own
        )

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
        for node in self._own:
            if isinstance(node, ast.Try) and node.finalbody:
                last = node.finalbody[-1].end_lineno or 0
                cleanups.update(range(node.finalbody[0].lineno, last + 1))
            elif isinstance(node, ast.With | ast.AsyncWith):
                cleanups.update(range(node.lineno, node.body[0].lineno))
            elif isinstance(node, ast.Return):
                whole = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                returns.update(dict.fromkeys(whole, node.lineno))
        lines, before = _flow(self.code)
        found: set[int] = set()
        seen, todo = {offset}, list(before.get(offset, ()))
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            line = lines.get(at)
            if line is None or line in cleanups:
                todo.extend(before.get(at, ()))
            else:
                found.add(returns.get(line, 0))
        return found.pop() if len(found) == 1 else 0

    def is_return(self, line: int) -> bool:
        """Return whether a line belongs to a `return`."""
        return any(
            isinstance(node, ast.Return) and node.lineno <= line <= (node.end_lineno or node.lineno)
            for node in self._own
        )

    def runs_anyway(self, node: ast.AST, line: int) -> bool:
        """Return whether a node stands in the `finally` that is run when a line is left."""
        for above, child in self.ancestors(node):
            if (
                isinstance(above, ast.Try)
                and child in above.finalbody
                and above.lineno <= line < above.finalbody[0].lineno
            ):
                return True
        return False

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
        for definition in self._source.functions.get(_last_name(call.func), ()):
            if isinstance(self._source.parents.get(definition), ast.ClassDef):
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
                and _last_name(argument.func) in _ADDRESSES
                and argument.args
            ):
                argument = argument.args[0]
            elif isinstance(argument, ast.Name):
                value = self._assigned(argument.id, line)
                if isinstance(value, ast.Call) and _last_name(value.func) in _ADDRESSES:
                    argument = value
                else:
                    break
            else:
                break
        return argument

    def _assigned(self, name: str, line: int) -> ast.expr | None:
        """Return what a name was last assigned before a line."""
        found: ast.expr | None = None
        for node in self._own:
            if isinstance(node, ast.Assign) and node.lineno <= line:
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        found = node.value
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for left, right in zip(target.elts, node.value.elts, strict=False):
                            if isinstance(left, ast.Name) and left.id == name:
                                found = right
        return found

    def _bound(self, node: ast.expr) -> Target:
        """Follow an expression outwards to what it is bound to."""
        line = node.lineno
        child: ast.AST = node
        for above, _ in self.ancestors(node):
            if isinstance(above, ast.Assign):
                target = above.targets[0]
                if isinstance(target, ast.Tuple) and isinstance(above.value, ast.Tuple):
                    pairs = zip(target.elts, above.value.elts, strict=False)
                    target = next((left for left, right in pairs if right is child), target)
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
                if isinstance(above.func, ast.Attribute) and above.func.attr in _KEEPS:
                    owner = self._of(above.func.value, line)
                    return owner._replace(form="item", text=owner.text)
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

    def copied(self, text: str, first: int, last: int) -> bool:
        """Return whether a variable's handle is put into something else between two lines.

        Args:
            text: the variable.
            first: the first line.
            last: the last line.
        """
        for node in self._own:
            if not first <= getattr(node, "lineno", 0) <= last:
                continue
            value: ast.expr | None = None
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.Yield):
                value = node.value
            elif (
                isinstance(node, ast.Call)
                and _last_name(node.func) in _KEEPS
                and any(text in _names_in(argument) for argument in node.args)
            ):
                return True
            if value is None or text not in _names_in(value):
                continue
            # What a call makes of it is a copy only if it holds what it is given.
            if not isinstance(value, ast.Call) or _wraps(value):
                return True
        return False

    def kept_in(self, text: str, after: int) -> Target | None:
        """Return where a local variable's handle is stored later, if that outlives the function.

        Args:
            text: the variable.
            after: the line of the acquisition.
        """
        for node in self._own:
            if getattr(node, "lineno", 0) < after:
                continue
            if isinstance(node, ast.Assign) and text in _names_in(node.value):
                for target in node.targets:
                    if isinstance(target, ast.Attribute | ast.Subscript):
                        found = self._of(target, node.lineno)
                        if found.outlives:
                            return found
                    elif isinstance(target, ast.Name) and self._form(target.id) != "local":
                        return self._of(target, node.lineno)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _KEEPS
                and any(text in _names_in(argument) for argument in node.args)
            ):
                found = self._of(node.func.value, node.lineno)
                if found.outlives:
                    return found._replace(form="item")
        return None

    # --- releases -----------------------------------------------------------------------------

    def releases(
        self, names: frozenset[str], target: Target | None, after: ast.AST | None
    ) -> list[Release]:
        """Return the calls that release what a target holds.

        Args:
            names: the functions and methods that release this kind of handle.
            target: what the handle is bound to; `None` for any.
            after: the acquisition; what stands before it is left out, unless a loop leads back.

        Returns:
            The releases, in the order of lines.
        """
        known = None if target is None or not target.text else self._aliases(target.text)
        # `final(ctx)` for `ctx.hHash`, but not `CryptDestroyHash(ctx.other)`
        owners = set() if known is None or target is None else known | _owners(target.text)
        line = 0
        if after is not None:
            loop = self.loop_around(after)
            line = (after if loop is None else loop).lineno  # type: ignore[attr-defined]
        found = []
        for node in self._own:
            if not isinstance(node, ast.Call) or node.lineno < line:
                continue
            release = self._release(node, names)
            if release is None:
                continue
            if known is None or _mentions(node, owners if release.through else known):
                found.append(release)
        return sorted(found, key=lambda release: release.line)

    def releasers(self, names: frozenset[str], target: Target) -> list[tuple[str, int]]:
        """Return the functions of the file that release what an attribute holds.

        Args:
            names: the functions and methods that release this kind of handle.
            target: the attribute.

        Returns:
            The name of each, and the line of the release in it.
        """
        attribute = target.text.rpartition(".")[2]
        found = []
        home = self._source.parents.get(self._node)
        for definitions in self._source.functions.values():
            for definition in definitions:
                if definition is self._node or (
                    isinstance(home, ast.ClassDef)
                    and target.text.startswith("self.")
                    and self._source.parents.get(definition) is not home
                ):
                    continue
                for node in ast.walk(definition):
                    if (
                        isinstance(node, ast.Call)
                        and _last_name(node.func) in names
                        and any(
                            isinstance(each, ast.Attribute) and each.attr == attribute
                            for each in ast.walk(node)
                        )
                    ):
                        found.append((definition.name, node.lineno))
                        break
        return found

    def _release(self, node: ast.Call, names: frozenset[str]) -> Release | None:
        name = self._resolved(node.func)
        if name in names:
            return Release(name, "", node.lineno, node)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            given = _last_name(argument) if isinstance(argument, ast.Attribute | ast.Name) else ""
            if given in names:  # `stack.callback(advapi32.CryptDestroyKey, hKey)`
                return Release(f"{name}(… {given} …)" if name else given, given, node.lineno, node)
        through = self._leads_to(name, names)
        if through:
            shown = quoting.expression(node)
            if len(shown) > _LONGEST:
                shown = f"{name}()"
            return Release(shown, through, node.lineno, node)
        return None

    def _resolved(self, function: ast.expr) -> str:
        """Return a called function's name, that of what it was assigned if it is an alias."""
        if isinstance(function, ast.Name):
            for node in (*self._own, *self._source.tree.body):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                    for target in node.targets:
                        if isinstance(target, ast.Name) and target.id == function.id:
                            return node.value.attr
        return _last_name(function)

    def _leads_to(self, name: str, names: frozenset[str]) -> str:
        """Return the release function that a function of the same file calls, empty if none."""
        if not name or name == self.code.co_name:
            return ""
        for definition in self._source.functions.get(name, ()):
            for node in ast.walk(definition):
                if isinstance(node, ast.Call) and _last_name(node.func) in names:
                    return _last_name(node.func)
        return ""

    def _aliases(self, text: str) -> set[str]:
        """Return the expressions that may stand for what a target holds."""
        known = {text}
        if text.startswith("("):  # `handle, size = make()`
            known.update(_names_in(ast.parse(text, mode="eval")))
        for _ in range(_ROUNDS):
            before = len(known)
            for node in self._own:
                if isinstance(node, ast.Assign) and known & set(_names_in(node.value)):
                    if isinstance(node.value, ast.Call) and not _wraps(node.value):
                        continue
                    known.update(
                        ast.unparse(target)
                        for target in node.targets
                        if isinstance(target, ast.Name | ast.Attribute)
                    )
                elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and known & set(
                    _names_in(node.iter)
                ):
                    known.update(_names_in(node.target))
                elif (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in _KEEPS
                    and any(known & set(_names_in(argument)) for argument in node.args)
                ):
                    known.add(ast.unparse(node.func.value))
            if len(known) == before:
                break
        return known


def _owners(text: str) -> set[str]:
    """Return the objects that an attribute or item belongs to: `ctx` for `ctx.hHash`."""
    found = set()
    while "." in text or "[" in text:
        text = text[: max(text.rfind("."), text.rfind("["))]
        found.add(text)
    return found


def _wraps(call: ast.Call) -> bool:
    """Return whether a call makes an object that holds its argument, as a class or a cast does."""
    name = _last_name(call.func)
    return name[:1].isupper() or name.startswith("c_") or name in _ADDRESSES


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


def _position(code: CodeType, offset: int) -> tuple[int | None, int | None, int | None, int | None]:
    for index, position in enumerate(code.co_positions()):
        if index == offset // 2:
            return position
    return (None, None, None, None)


def _flow(code: CodeType) -> tuple[dict[int, int | None], dict[int, list[int]]]:
    """Return the line of each instruction, and the instructions that can come before it."""
    lines: dict[int, int | None] = {}
    before: dict[int, list[int]] = {}
    previous: dis.Instruction | None = None
    for each in dis.get_instructions(code):
        lines[each.offset] = None if each.positions is None else each.positions.lineno
        if previous is not None and previous.opname not in _TERMINATORS:
            before.setdefault(each.offset, []).append(previous.offset)
        if each.opcode in _JUMPS and isinstance(each.argval, int):
            before.setdefault(each.argval, []).append(each.offset)
        previous = each
    return lines, before


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _names_in(node: ast.AST) -> list[str]:
    """Return the names and attribute chains in an expression."""
    return [
        ast.unparse(each)
        for each in ast.walk(node)
        if isinstance(each, ast.Name | ast.Attribute | ast.Subscript)
    ]


def _mentions(call: ast.Call, wanted: set[str]) -> bool:
    parts: list[ast.AST] = [*call.args, *(keyword.value for keyword in call.keywords)]
    if isinstance(call.func, ast.Attribute):
        parts.append(call.func.value)
    return any(wanted & set(_names_in(part)) for part in parts)
