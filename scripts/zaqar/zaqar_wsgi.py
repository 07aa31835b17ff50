"""Zaqar's WSGI application, for any WSGI server.

oslo.config reads the command line of the process it is in, and looks for zaqar.conf in the home
folder first: whoever starts this names a home with the one that is meant.
"""

import sys

sys.argv = ["zaqar"]

from zaqar.transport.wsgi.app import application  # noqa: E402,F401
