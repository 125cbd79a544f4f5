"""What `csptrace demo --api NAME` runs: one module for each API, of that name.

Each has `EXAMPLE` (the program, with its `MISTAKES`), `INTRODUCTION` (a line that says what runs on
what) and `prepare(home)`, which makes what it needs in a folder and returns the environment
variable that leads to it, its value, and what to run.
"""
