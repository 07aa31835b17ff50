"""Greets, with the Fn FDK for Python. Shows status, headers, configuration and logs."""

import json
import logging
import os

from fdk import response

calls = 0


def handler(ctx, data=None):
    global calls
    calls += 1
    name = json.loads(data.getvalue() or b"{}").get("name")
    if name == "nobody":
        raise ValueError("nobody cannot be greeted")
    logging.getLogger("func").warning("greeting %s", name)
    if not name:
        return response.Response(ctx, '{"error": "name is missing"}', {"Content-Type": "application/json"}, 422)
    answer = {
        "message": f"{ctx.Config().get('greeting', 'Hello')}, {name}!",
        "method": ctx.Method(),
        "url": ctx.RequestURL(),
        "call_id": ctx.CallID(),
        "request_id": ctx.HTTPHeaders().get("x-request-id"),
        "traceparent": ctx.HTTPHeaders().get("traceparent"),
        "calls_of_this_sandbox": calls,
        "pid": os.getpid(),
    }
    headers = {"Content-Type": "application/json", "X-Greeted": name}
    return response.Response(ctx, json.dumps(answer), headers, 201)
