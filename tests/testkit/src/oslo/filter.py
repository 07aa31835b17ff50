"""Runs one request through keystonemiddleware's audit filter and prints the events it sends."""
import json
import os
import sys
import tempfile
from unittest import mock

import webob
from keystonemiddleware import audit

wanted = json.load(open(sys.argv[1]))
map_file = tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False)
map_file.write(wanted["audit_map"])
map_file.close()


class Printer:
    def notify(self, context, event_type, payload):
        print("EVENT " + json.dumps(dict(event_type=event_type, payload=payload)))


def app(environ, start_response):
    start_response("%d Answered" % wanted["status"], [("Content-Type", "application/json")])
    return [b"{}"]


with mock.patch("keystonemiddleware.audit._notifier.create_notifier", return_value=Printer()):
    filtered = audit.filter_factory({}, audit_map_file=map_file.name)(app)
request = webob.Request.blank(wanted["path"], method=wanted["method"])
request.environ.update(wanted["environ"])
request.get_response(filtered)
os.unlink(map_file.name)
