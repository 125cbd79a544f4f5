"""The rules of partners, some of which nobody can read."""

import random


class RuleError(Exception):
    """A rule that cannot be read."""


class Rules:
    """Rules that fail now and then.

    Args:
        chance: decides when.
        failing: how often, from 0 to 1.
    """

    def __init__(self, chance: random.Random, failing: float) -> None:
        self.chance = chance
        self.failing = failing

    def parse(self) -> None:
        """Read the rules."""
        if self.chance.random() < self.failing:
            raise RuleError("unexpected end of rule")
