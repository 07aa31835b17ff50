"""Says for which planned time it was called.

One JSON document a call on stdin, one on stdout. What is known of an event is in the call's headers.
"""

import json
import sys

for line in sys.stdin:
    event = json.loads(line)["headers"]
    said = f"Planned for {event['ce-id']} by the schedule {event['ce-picassotrigger']}."
    print(said, file=sys.stderr, flush=True)
    print(json.dumps({"body": said + "\n"}), flush=True)
