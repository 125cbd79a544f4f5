"""Settles the payments of one day: `python settlement.py SEED`."""

import sys

from payments.day import main

main("settlement", sys.argv[1])
