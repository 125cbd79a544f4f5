"""Stage 2: HOW a call is intercepted. The only stage that touches wrapt."""
