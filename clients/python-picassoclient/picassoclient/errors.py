"""Errors of the client itself, and how errors of the service read."""

from typing import Any

import requests
from openstack import exceptions

#: The longest text of a service's answer that a message repeats.
LONGEST_TEXT = 500


class ClientError(exceptions.SDKException):
    """The client refused to send something, or an answer is not what the API promises."""


class FunctionError(exceptions.SDKException):
    """A function answered with a status of 400 or more; `answer` is its whole answer."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"The function answered with status {answer.status_code}")
        self.answer = answer


def fault_of(response: requests.Response | None) -> dict[str, Any]:
    """The `error` of an answer of the service itself; empty where a function or a proxy answered."""
    if response is None or "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        error = response.json()["error"]
        return error if isinstance(error["message"], str) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def is_of_the_service(response: requests.Response) -> bool:
    """Whether an answer of 400 or more is the service's own: functions cannot set this header."""
    return "Picasso-Error-Kind" in response.headers


def describe(error: exceptions.HttpException) -> str:
    """One sentence for people, and what an operator needs to find the request."""
    response = getattr(error, "response", None)
    fault = fault_of(response)
    text = fault.get("message") or error.details or error.message or "The service gave no reason"
    about = [f"HTTP {error.status_code}"] if error.status_code else []
    if fault.get("kind"):
        about.append(fault["kind"])
    headers = getattr(response, "headers", None) or {}
    request_id = fault.get("request_id") or headers.get("X-Openstack-Request-Id")
    if request_id:
        about.append(f"request {request_id}")
    lines = [f"{str(text)[:LONGEST_TEXT]} ({', '.join(about)})" if about else str(text)[:LONGEST_TEXT]]
    if fault.get("call_id"):
        lines.append(f"Call: {fault['call_id']}")
    if fault.get("stderr"):
        lines.append(f"The end of what the function wrote to stderr:\n{fault['stderr']}".rstrip())
    return "\n".join(lines)
