"""Tells in words what an alarm of Aodh says.

One JSON document a call on stdin, one on stdout. The body is what Aodh posts to an alarm's action.
"""

import json
import sys

for line in sys.stdin:
    alarm = json.loads(json.loads(line)["body"])
    traits = {name: value for name, _, value in alarm["reason_data"]["event"]["traits"]}
    said = (
        f"The alarm {alarm['alarm_name']} went from \"{alarm['previous']}\" to \"{alarm['current']}\": "
        f"server {traits.get('resource_id', '?')} is {traits.get('state', '?')}."
    )
    print(said, file=sys.stderr, flush=True)
    print(json.dumps({"body": said + "\n"}), flush=True)
