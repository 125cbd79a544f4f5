"""Programs to try csptrace on. Their frames count as user code."""
