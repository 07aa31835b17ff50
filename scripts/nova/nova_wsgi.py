"""Nova's compute API, for any WSGI server.

oslo.config reads the command line of the process it is in; the arguments of gunicorn are none of
Nova's. Configuration and api-paste.ini are in the folder that OS_NOVA_CONFIG_DIR names.
"""

import sys

sys.argv = ["nova-api"]

from nova.wsgi.osapi_compute import application  # noqa: E402,F401
