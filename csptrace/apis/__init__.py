"""One folder for each API: everything that is known of it and of its Python bindings."""
