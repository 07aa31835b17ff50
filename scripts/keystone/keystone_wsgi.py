"""Keystone's WSGI application, for any WSGI server.

oslo.config reads the command line of the process it is in. The arguments of gunicorn are none of
Keystone's, so they are put away before Keystone is imported.
"""

import sys

sys.argv = ["keystone"]

from keystone.wsgi.api import application  # noqa: E402,F401
