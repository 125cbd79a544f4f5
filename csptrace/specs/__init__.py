"""Stage 1: WHAT each API promises. Data only, one file per API; see `vocabulary` for the words."""
