"""Lists the servers of a project.

Called with OS_AUTH_URL, OS_TOKEN and OS_PROJECT_ID in its body, as functions were in 2017, it acts
with that token. Otherwise it acts with the identity that its route was granted.
"""

import json
import sys

import openstack


def connect(payload):
    if "OS_TOKEN" not in payload:
        # Variables and files that Picasso provides say where and as whom.
        return openstack.connect()
    return openstack.connect(
        auth_type="v3token",
        auth_url=payload["OS_AUTH_URL"],
        token=payload["OS_TOKEN"],
        project_id=payload["OS_PROJECT_ID"],
    )


body = sys.stdin.read()
cloud = connect(json.loads(body) if body.strip() else {})
servers = [{"id": server.id, "name": server.name} for server in cloud.compute.servers(details=False)]
print(json.dumps({"count": len(servers), "servers": servers}))
