"""Greets, with Google's Functions Framework: by HTTP (`greet`) and by CloudEvent (`hear`)."""

import json
import os

import functions_framework

calls = 0


@functions_framework.http
def greet(request):
    global calls
    calls += 1
    name = (request.get_json(silent=True) or {}).get("name")
    if name == "nobody":
        raise ValueError("nobody cannot be greeted")
    print(f"greeting {name}", flush=True)
    if not name:
        return {"error": "name is missing"}, 422
    answer = {
        "message": f"{os.environ.get('greeting', 'Hello')}, {name}!",
        "method": request.method,
        "url": request.full_path.rstrip("?"),
        "call_id": request.headers.get("Fn-Call-Id"),
        "request_id": request.headers.get("X-Request-Id"),
        "traceparent": request.headers.get("traceparent"),
        "calls_of_this_sandbox": calls,
        "pid": os.getpid(),
    }
    return answer, 201, {"X-Greeted": name}


@functions_framework.cloud_event
def hear(event):
    print(f"heard {event['type']} {event['id']} from {event['source']}: {json.dumps(event.data)}", flush=True)
