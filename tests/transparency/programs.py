"""Client programs as data: scripted ones, and as many generated ones as wanted.

A program is a list of steps over named slots ("c3" a context, "k7" a key, "h1" a hash). It makes
the mistakes that programs make, but each stale use follows its release at once: later, the number
may belong to another handle, and which one is up to the memory allocator.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

DATA: Final = (b"", b"a", b"sixteen bytes ..", b"a message that is longer than a block")
FLAWED_ARGUMENTS: Final = 4


class Step(NamedTuple):
    """One step.

    Attributes:
        op: what is done.
        slots: the slots of its handles, in the order of the native call's arguments.
        new: the slot that a new handle goes to, empty if none.
        detail: a number or a text, its meaning up to `op`.
    """

    op: str
    slots: tuple[str, ...] = ()
    new: str = ""
    detail: int | str = 0


def step(op: str, *slots: str, new: str = "", detail: int | str = 0) -> Step:
    """Return a step."""
    return Step(op, slots, new, detail)


# --- scripted -------------------------------------------------------------------------------------

_ORDERLY: Final = [
    step("acquire", new="c1"),
    step("gen_key", "c1", new="k1"),
    step("create_hash", "c1", new="h1", detail="sha1"),
    step("hash_data", "h1", detail=3),
    step("hash_value", "h1"),
    step("import_key", "c1", new="k2"),
    step("encrypt", "k2", detail=2),
    step("export", "k2"),
    step("destroy_hash", "h1"),
    step("drop", "h1"),
    step("destroy_key", "k1"),
    step("drop", "k1"),
    step("destroy_key", "k2"),
    step("drop", "k2"),
    step("release", "c1"),
    step("drop", "c1"),
]
_LEAKING: Final = [
    step("acquire", new="c1"),
    step("gen_key", "c1", new="k1"),
    step("create_hash", "c1", new="h1", detail="sha256"),
    step("release", "c1"),
    step("hash_data", "h1", detail=1),
    step("destroy_hash", "h1"),
    step("key_param", "k1"),
    step("destroy_key", "k1"),
    step("drop", "h1"),
    step("drop", "k1"),
    step("release", "c1"),
    step("random", "c1"),
    step("drop", "c1"),
]
_COUNTED: Final = [
    step("acquire", new="c1"),
    step("add_ref", "c1"),
    step("add_ref", "c1"),
    step("release", "c1"),
    step("gen_key", "c1", new="k1"),
    step("release", "c1"),
    step("destroy_key", "k1"),
    step("drop", "k1"),
    step("release", "c1"),
    step("drop", "c1"),
]
_FLAGGED: Final = [
    step("acquire", new="c1"),
    step("create_hash", "c1", new="h1", detail="sha1"),
    step("release", "c1", detail=1),
    step("destroy_hash", "h1"),
    step("drop", "h1"),
    step("drop", "c1"),
]
_DEPENDENT: Final = [
    step("acquire", new="c1"),
    step("import_key", "c1", new="k1"),
    step("create_hash", "c1", "k1", new="h1", detail="mac"),
    step("hash_data", "h1", detail=2),
    step("destroy_key", "k1"),
    step("destroy_hash", "h1"),
    step("drop", "h1"),
    step("drop", "k1"),
    step("release", "c1"),
    step("drop", "c1"),
]
_REFUSED: Final = [
    step("acquire_bad_type", new="c1"),
    step("acquire_missing", new="c2"),
    step("acquire", new="c3"),
    step("gen_bad_key", "c3", new="k1"),
    step("user_key", "c3", new="k2"),
    step("create_hash", "c3", new="h1", detail="nonsense"),
    step("null"),
    *(step("flawed", "c3", detail=number) for number in range(FLAWED_ARGUMENTS)),
    step("release", "c3"),
    step("drop", "c3"),
]
_CONTAINER: Final = [
    step("delete_container"),
    step("new_container", new="c1"),
    step("new_container", new="c2"),
    step("gen_signature_key", "c1", new="k1"),
    step("destroy_key", "k1"),
    step("drop", "k1"),
    step("user_key", "c1", new="k2"),
    step("create_hash", "c1", new="h1", detail="sha1"),
    step("hash_data", "h1", detail=3),
    step("sign", "h1"),
    step("destroy_hash", "h1"),
    step("drop", "h1"),
    step("destroy_key", "k2"),
    step("drop", "k2"),
    step("release", "c1"),
    step("drop", "c1"),
    step("delete_container"),
]
_CONFUSED: Final = [
    step("acquire", new="c1"),
    step("gen_key", "c1", new="k1"),
    step("wrong_release", "k1", detail="CryptDestroyHash"),
    step("wrong_release", "k1", detail="CryptReleaseContext"),
    step("wrong_release", "c1", detail="CryptDestroyKey"),
    step("destroy_key", "k1"),
    step("drop", "k1"),
    step("release", "c1"),
    step("drop", "c1"),
]
_DROPPED: Final = [
    step("acquire", new="c1"),
    step("gen_key", "c1", new="k1"),
    step("gen_key", "c1", new="k2"),
    step("create_hash", "c1", new="h1", detail="sha1"),
    step("drop", "c1"),
    step("destroy_key", "k1"),
    step("drop", "k1"),
    step("drop", "h1"),
    step("key_param", "k2"),
    step("drop", "k2"),
    step("acquire", new="c2"),
    step("import_key", "c2", new="k3"),
    step("destroy_key", "k3"),
    step("drop", "k3"),
    step("drop", "c2"),
]
SCRIPTED: Final = (
    _ORDERLY,
    _LEAKING,
    _COUNTED,
    _FLAGGED,
    _DEPENDENT,
    _REFUSED,
    _CONTAINER,
    _CONFUSED,
    _DROPPED,
)


# --- generated ------------------------------------------------------------------------------------


class _Generator:
    """Makes one program and knows, while it does, what is alive in it."""

    def __init__(self, seed: int, *, counted: bool) -> None:
        self.counted = counted
        self.pick = random.Random(seed)
        self.steps: list[Step] = []
        self.count = 0
        self.refs: dict[str, int] = {}
        self.parents: dict[str, str] = {}
        self.macs: dict[str, str] = {}

    def add(self, op: str, *slots: str, new: str = "", detail: int | str = 0) -> None:
        self.steps.append(Step(op, slots, new, detail))

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def some(self, letter: str, context: str = "") -> str:
        """Return a live child of a sort, empty if there is none."""
        found = [
            slot
            for slot, parent in self.parents.items()
            if slot[0] == letter and (not context or parent == context)
        ]
        return self.pick.choice(found) if found else ""

    def program(self, length: int) -> list[Step]:
        while len(self.steps) < length:
            if not self.refs or self.pick.random() < 0.05:
                self.acquire()
            else:
                self.pick.choice(
                    (
                        self.new_key, self.new_hash, self.new_hash, self.use_key, self.use_key,
                        self.use_hash, self.use_hash, self.use_context, self.end_child,
                        self.end_child, self.end_context, self.mistake,
                    )
                )()  # fmt: skip
        for context in list(self.refs):
            while context in self.refs:
                self.end_context(context)
        return self.steps

    def acquire(self) -> None:
        slot = self.name("c")
        self.refs[slot] = 1
        self.add("acquire", new=slot)

    def context(self) -> str:
        return self.pick.choice(list(self.refs))

    def use_context(self) -> None:
        context = self.context()
        if self.counted and self.pick.random() < 0.3:
            self.refs[context] += 1
            self.add("add_ref", context)
        else:
            self.add("random", context)

    def new_key(self) -> None:
        context, slot = self.context(), self.name("k")
        key, hashed = self.some("k"), self.some("h", context)
        how = self.pick.randrange(4)
        if how == 2 and hashed and self.counted:
            self.add("derive", context, hashed, new=slot)
            self.parents[slot] = context
        elif how == 3 and key:
            self.add("duplicate_key", key, new=slot)
            self.parents[slot] = self.parents[key]
        else:
            self.add("import_key" if how else "gen_key", context, new=slot)
            self.parents[slot] = context

    def new_hash(self) -> None:
        context, slot = self.context(), self.name("h")
        how = self.pick.randrange(8)
        key, hashed = self.some("k", context), self.some("h")
        if how == 0 and key:
            self.add("create_hash", context, key, new=slot, detail="mac")
            self.macs[slot] = key
        elif how == 1 and hashed:
            self.add("duplicate_hash", hashed, new=slot)
            self.parents[slot] = self.parents[hashed]
            if hashed in self.macs:
                self.macs[slot] = self.macs[hashed]
            return
        elif how == 2:
            self.add("create_hash", context, new=slot, detail="nonsense")
            return
        else:
            algorithm = self.pick.choice(("sha1", "sha256"))
            self.add("create_hash", context, new=slot, detail=algorithm)
        self.parents[slot] = context

    def use_key(self, key: str = "") -> None:
        key = key or self.some("k")
        if key:
            op = self.pick.choice(("key_param", "export", "encrypt"))
            self.add(op, key, detail=self.pick.randrange(len(DATA)))

    def use_hash(self, hashed: str = "") -> None:
        hashed = hashed or self.some("h")
        if hashed and self.macs.get(hashed, hashed) in (hashed, *self.parents):
            op = self.pick.choice(("hash_data", "hash_data", "hash_value"))
            if hashed in self.macs and op == "hash_value":
                op = "mac_value"
            self.add(op, hashed, detail=self.pick.randrange(len(DATA)))

    def end_child(self) -> None:
        slot = self.some(self.pick.choice("kh"))
        if slot:
            self.end(slot)

    def end(self, slot: str) -> None:
        """Release a child, or let it go without; now and then use it or release it again."""
        if self.pick.random() < 0.9:
            release = "destroy_key" if slot[0] == "k" else "destroy_hash"
            self.add(release, slot)
            if self.pick.random() < 0.15:
                self.add(release, slot)
            if self.pick.random() < 0.15:
                (self.use_key if slot[0] == "k" else self.use_stale_hash)(slot)
        del self.parents[slot]
        self.add("drop", slot)

    def use_stale_hash(self, hashed: str) -> None:
        self.add("hash_data", hashed, detail=1)

    def end_context(self, context: str = "") -> None:
        context = context or self.context()
        last = self.refs[context] == 1
        children = [slot for slot, parent in self.parents.items() if parent == context]
        if last and self.pick.random() < 0.6:
            for child in children:
                self.end(child)
            children = []
        self.add("release", context, detail=int(last and self.pick.random() < 0.2))
        self.refs[context] -= 1
        if not last:
            return
        del self.refs[context]
        for child in children:
            self.end(child)
        if self.pick.random() < 0.3:
            self.add("release", context)
        if self.pick.random() < 0.3:
            self.add("random", context)
        self.add("drop", context)

    def mistake(self) -> None:
        context, key = self.context(), self.some("k")
        match self.pick.randrange(7):
            case 0:
                self.add("null")
            case 1:
                self.add("flawed", context, detail=self.pick.randrange(FLAWED_ARGUMENTS))
            case 2:
                self.add("acquire_missing", new=self.name("c"))
            case 3:
                self.add("gen_bad_key", context, new=self.name("k"))
            case 4 if key:
                function = self.pick.choice(("CryptDestroyHash", "CryptReleaseContext"))
                self.add("wrong_release", key, detail=function)
            case 5:
                self.add("wrong_release", context, detail="CryptDestroyKey")
            case _:
                self.add("user_key", context, new=self.name("k"))


def programs(seed: int, count: int, *, counted: bool = True, length: int = 60) -> list[list[Step]]:
    """Return the scripted programs and `count` generated ones.

    Args:
        seed: equal seeds give equal programs.
        count: how many are generated.
        counted: whether the binding lets a program add references to a context.
        length: about how many steps each of them has.
    """
    generated = [
        _Generator(seed * 1000 + number, counted=counted).program(length) for number in range(count)
    ]
    scripted = [list(program) for program in SCRIPTED if counted or program is not _COUNTED]
    return [*scripted, *generated]
