"""The constants that pywin32 has in ``win32cryptcon``, as far as this provider knows them."""

from csptrace.softcsp.constants import *  # noqa: F403
