"""Why a handle was not released: what was observed, read with the source."""
