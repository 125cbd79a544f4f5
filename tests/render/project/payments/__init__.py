"""A program that was traced, so that there is something to quote. Never imported."""
