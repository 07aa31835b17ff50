"""Greets, as an AWS Lambda function behind its function URL (payload 2.0)."""

import base64
import json
import os

calls = 0
# How loud to be: a value of the configuration, read once.
bangs = "!" * int(os.environ.get("loudness", "1"))


def handler(event, context):
    global calls
    calls += 1
    body = event.get("body") or "{}"
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    name = json.loads(body).get("name")
    if name == "nobody":
        raise ValueError("nobody cannot be greeted")
    print(f"greeting {name}")
    if not name:
        return {"statusCode": 422, "body": '{"error": "name is missing"}'}
    http = event["requestContext"]["http"]
    answer = {
        "message": f"{os.environ.get('greeting', 'Hello')}, {name}{bangs}",
        "method": http["method"],
        "url": event["rawPath"] + ("?" + event["rawQueryString"] if event["rawQueryString"] else ""),
        "call_id": context.aws_request_id,
        "request_id": event["headers"].get("x-request-id"),
        "traceparent": event["headers"].get("traceparent"),
        "time_left_ms": context.get_remaining_time_in_millis(),
        "calls_of_this_sandbox": calls,
        "pid": os.getpid(),
    }
    return {
        "statusCode": 201,
        "headers": {"Content-Type": "application/json", "X-Greeted": name},
        "cookies": ["greeted=1; Path=/"],
        "body": json.dumps(answer),
    }
