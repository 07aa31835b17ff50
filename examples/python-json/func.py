"""Greets, with nothing but Python: one JSON document a call on stdin, one on stdout."""

import json
import os
import sys

calls = 0

for line in sys.stdin:
    calls += 1
    call = json.loads(line)
    name = json.loads(call["body"] or "{}").get("name")
    print(f"greeting {name}", file=sys.stderr, flush=True)
    if name == "nobody":
        raise ValueError("nobody cannot be greeted")
    if name:
        answer = {
            "message": f"{call['config'].get('greeting', 'Hello')}, {name}!",
            "method": call["method"],
            "url": call["url"],
            "call_id": call["call_id"],
            "request_id": call["headers"].get("x-request-id"),
            "traceparent": call["headers"].get("traceparent"),
            "calls_of_this_sandbox": calls,
            "pid": os.getpid(),
        }
        headers = {"content-type": "application/json", "x-greeted": name}
        answer = {"status": 201, "headers": headers, "body": json.dumps(answer)}
    else:
        answer = {"status": 422, "body": "name is missing"}
    print(json.dumps(answer), flush=True)
