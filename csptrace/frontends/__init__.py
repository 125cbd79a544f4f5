"""Stage 6: the ways in for people. Nobody imports a frontend."""
