"""Stage 5: what leaves the process. The schema, structlog loggers of our own, and the sinks."""
