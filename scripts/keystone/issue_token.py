"""Issues one token with a lifetime of its own and prints it.

The lifetime of tokens is one setting of a whole Keystone. A test that needs a token which ends
soon, from a Keystone whose other tokens live on, gets it from a second process with the same keys.

usage: OS_KEYSTONE_CONFIG_DIR=… issue_token.py SECONDS < auth.json
"""

import sys

SECONDS = int(sys.argv[1])

import keystone_wsgi  # noqa: E402
import keystone.conf  # noqa: E402
from werkzeug.test import Client  # noqa: E402

keystone.conf.CONF.set_override("expiration", SECONDS, group="token")
answer = Client(keystone_wsgi.application).post(
    "/v3/auth/tokens", data=sys.stdin.read(), content_type="application/json"
)
if answer.status_code != 201:
    sys.exit(f"issue_token: Keystone answered {answer.status_code}: {answer.text}")
print(answer.headers["X-Subject-Token"])
