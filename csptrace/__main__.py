"""`python -m csptrace`."""

from csptrace.frontends.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
