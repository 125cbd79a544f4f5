"""Where the functions are, and how they are replaced and put back."""
