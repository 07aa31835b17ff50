"""Barbican's WSGI application, for any WSGI server.

oslo.config reads the command line of the process it is in, and looks for barbican.conf in the home
folder first: whoever starts this names a home with the one that is meant. The pipeline is beside it;
Barbican's own entry point wants it in /etc.
"""

import os
import sys

sys.argv = ["barbican"]

from paste import deploy  # noqa: E402

application = deploy.loadapp("config:" + os.path.join(os.environ["HOME"], "barbican-api-paste.ini"))
