"""Welcomes each new project.

One JSON document a call on stdin, one on stdout. The body is Keystone's notification.
"""

import json
import sys

for line in sys.stdin:
    told = json.loads(json.loads(line)["body"])
    payload = told["payload"]
    who = payload["initiator"].get("username") or payload["initiator"]["id"]
    said = f"{told['event_type']}: {who} made the project {payload['target']['id']}. Welcome!"
    print(said, file=sys.stderr, flush=True)
    print(json.dumps({"body": said + "\n"}), flush=True)
