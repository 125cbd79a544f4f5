"""Stage 4: WHAT is wrong. Pure functions from a change of the graph to findings."""
