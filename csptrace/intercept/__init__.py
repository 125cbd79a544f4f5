"""How a call is intercepted: arguments are read, uses are checked, effects are applied."""
