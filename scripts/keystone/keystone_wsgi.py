"""Keystone's WSGI application, for any WSGI server; one request at a time, however many threads ask.

With two at once, SQLite answers "database is locked" where both read and then write, and Keystone 403
where two of its first requests set up the policy. One thread would do as well, but a client that has
connected and says nothing yet, as a pool of connections does, would hold it for seconds.

oslo.config reads the command line of the process it is in. The arguments of gunicorn are none of
Keystone's, so they are put away before Keystone is imported.
"""

import sys
import threading

sys.argv = ["keystone"]

from keystone.wsgi.api import application as keystone  # noqa: E402

one_at_a_time = threading.Lock()


def application(environ, start_response):
    """Answers a request; its transaction has ended when the lock is given back."""
    with one_at_a_time:
        return keystone(environ, start_response)
