"""Answers the requests of one day: `python webhooks.py SEED`."""

import sys

from payments.day import main

main("webhooks", sys.argv[1])
