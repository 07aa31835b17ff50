"""keystonemiddleware's auth_token before an application that answers whose request reached it.

The conformance tests of tokens run it under gunicorn. AUTH_TOKEN_SETTINGS names a JSON file that maps
names of sets of options of `[keystone_authtoken]` to their values; a request picks one of them by its
header `Echo-Settings`.
"""

import json
import os

from keystonemiddleware import auth_token
from oslo_config import cfg


def echo(environ, start_response):
    asserted = {
        name: value
        for name, value in environ.items()
        if name.startswith("HTTP_X_") or name == "HTTP_OPENSTACK_SYSTEM_SCOPE"
    }
    # In a header, as an answer to HEAD has no body.
    start_response("200 OK", [("Echo", json.dumps(asserted)), ("Content-Length", "0")])
    return []


def protected(options):
    settings = cfg.ConfigOpts()
    settings([], project="echo-identity", default_config_files=[], default_config_dirs=[])
    return auth_token.AuthProtocol(echo, {**options, "oslo_config_config": settings})


with open(os.environ["AUTH_TOKEN_SETTINGS"]) as file:
    applications = {name: protected(options) for name, options in json.load(file).items()}


def application(environ, start_response):
    return applications[environ.pop("HTTP_ECHO_SETTINGS")](environ, start_response)
