"""Keeps the trail of one day: `python audit.py SEED`."""

import sys

from payments.day import main

main("audit", sys.argv[1])
