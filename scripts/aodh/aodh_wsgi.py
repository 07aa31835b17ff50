"""Aodh's API, for any WSGI server.

Its own entry point reads the configuration of the whole system only; this one reads aodh.conf in
the folder it is started in. api-paste.ini beside it names that file, too.
"""

from aodh.api import app

application = app.build_wsgi_app(argv=["--config-file", "aodh.conf"])
