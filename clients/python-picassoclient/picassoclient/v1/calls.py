"""Calling functions, and what became of calls."""

import json
import time
from collections.abc import Iterator
from typing import Any

import requests
from openstack import exceptions

from picassoclient.errors import ClientError, FunctionError, is_of_the_service
from picassoclient.v1._base import Base
from picassoclient.v1.paths import call_path, segment
from picassoclient.v1.record import Record

#: Seconds for a connection, and for the next piece of a function's answer: the longest time limit
#: of a route that an operator allows by default, and a minute for a place.
CALL_TIMEOUT = (10, 960)
#: The service follows a log for 15 minutes, in which a function may be silent.
FOLLOW_TIMEOUT = (10, 960)
#: Seconds between two streams of one log.
FOLLOW_PAUSE = 1.0
#: How often a stream may break before the log is given up.
MAX_FOLLOW_FAILURES = 5
#: A call in one of these states has ended.
FINAL = ("succeeded", "failed", "timed_out", "cancelled", "dead")


class Calls(Base):
    """Function URLs, and `/v1/{project}/calls`."""

    #: The start of function URLs, once it is known.
    _functions_url: str | None = None

    def functions_url(self) -> str:
        """The start of function URLs: `functions_url` of the cloud's configuration, else what the service says."""
        if self._functions_url is None:
            conn = self._get_connection()
            configured = conn.config.config.get("functions_url") if conn else None
            self._functions_url = str(configured or self._announced_functions_url()).rstrip("/")
        return self._functions_url

    def _announced_functions_url(self) -> str:
        answer = self.send_json("GET", "/v1")
        links = (answer.get("version") or {}).get("links") or []
        url = next((link.get("href") for link in links if link.get("rel") == "functions"), None)
        if not url:
            raise ClientError(
                "The service does not say where function URLs are; set OS_FUNCTIONS_URL or --os-functions-url "
                "(https://functions.example.org:10002)"
            )
        endpoint = self.get_endpoint() or ""
        if endpoint.startswith("https:") and not url.startswith("https:"):
            raise ClientError(
                f"The API is at {endpoint}, but the service says that functions are at {url}, without TLS: no "
                "token is sent there. Set OS_FUNCTIONS_URL or --os-functions-url if that is meant"
            )
        return str(url)

    def function_url(
        self, app: str, path: str, *, public: bool = False, version: int | None = None, alias: str | None = None
    ) -> str:
        """The URL of a function: for callers with a token, or where `public` for all; `app` is then the full name."""
        if version is not None and alias is not None:
            raise ClientError("Either a version or an alias can be called, not both")
        selector = alias if version is None else str(version)
        named = segment("app", app) + (f"@{segment('alias', selector)}" if selector else "")
        path, mark, query = path.partition("?")
        start = "/f" if public else f"/v1/f/{segment('project', self.get_project_id() or '')}"
        return f"{self.functions_url()}{start}/{named}/{call_path(path)}{mark}{query}"

    def call(
        self,
        app: str,
        path: str,
        data: Any = None,
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        version: int | None = None,
        alias: str | None = None,
        invoke: str | None = None,
        timeout: float | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Calls a function with the token of this session; its answer.

        `data` is text, bytes or a file; `json.dumps` what is to be JSON. `invoke` is `sync` or `async`;
        of an asynchronous call the answer is `{"call_id": …}` with status 202. A refusal of the service
        is an exception of openstacksdk, a function's own status of 400 or more a `FunctionError`.
        """
        headers = dict(headers or {})
        if invoke:
            headers["X-Picasso-Invoke"] = invoke
        names = {name.lower() for name in headers}
        if data is not None and "content-type" not in names:
            headers["Content-Type"] = "application/octet-stream"
        answer = self.request(
            self.function_url(app, path, version=version, alias=alias),
            method,
            data=data.encode() if isinstance(data, str) else data,
            headers=headers,
            # The answer is the function's; a redirect of it is not to be followed with a token.
            redirect=False,
            # What goes in and out belongs to the function, also in a log.
            log=False,
            connect_retries=0,
            skip_cache=True,
            stream=stream,
            timeout=CALL_TIMEOUT if timeout is None else (CALL_TIMEOUT[0], timeout),
        )
        if answer.status_code >= 400:
            if is_of_the_service(answer):
                exceptions.raise_from_response(answer)
            raise FunctionError(answer)
        return answer

    def calls(self, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """The project's calls, newest first; `query`: `app`, `route`, `status`, `since`."""
        return self.pages(self.url("calls"), "calls", query, limit)

    def _call_url(self, call_id: str, *parts: str) -> str:
        return self.url("calls", segment("call", call_id), *parts)

    def get_call(self, call_id: str) -> Record:
        """One call."""
        return self.one("GET", self._call_url(call_id), "call")

    def cancel_call(self, call_id: str) -> Record:
        """Ends a call that waits or runs."""
        return self.one("POST", self._call_url(call_id, "cancel"), "call")

    def retry_call(self, call_id: str) -> Record:
        """Runs an asynchronous call that did not succeed again."""
        return self.one("POST", self._call_url(call_id, "retry"), "call")

    def get_result(self, call_id: str, *, stream: bool = False) -> requests.Response:
        """What the function answered to an asynchronous call: its bytes, with their content type."""
        url = self._call_url(call_id, "result")
        return self.send("GET", url, params={"raw": "true"}, headers={"Accept": "*/*"}, stream=stream, log=False)

    def wait_for_call(self, call_id: str, timeout: float | None = None) -> Record:
        """The call once it has ended; an exception where that takes longer than `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = 0.2
        while True:
            call = self.get_call(call_id)
            if call["status"] in FINAL:
                return call
            if until is not None and time.monotonic() + pause > until:
                raise exceptions.ResourceTimeout(f"Call {call_id} is still {call['status']} after {timeout:g} seconds")
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)

    def get_log(self, call_id: str) -> list[Record]:
        """The lines that an asynchronous call has written so far: `time`, `stream`, `line`."""
        answer = self.send_json("GET", self._call_url(call_id, "log"))
        return [Record(line) for line in answer.get("log") or []]

    def follow_log(self, call_id: str) -> Iterator[Record]:
        """The lines of a call as they are written, until it ends."""
        seen, run, failures = 0, None, 0
        while True:
            call = self.get_call(call_id)
            if call.get("attempt") != run:
                # A repeated run begins a log of its own.
                run, seen = call.get("attempt"), 0
            came = 0
            try:
                for came, line in enumerate(self._followed(call_id), 1):
                    if came > seen:
                        yield line
            except requests.exceptions.RequestException as error:
                failures += 1
                if failures > MAX_FOLLOW_FAILURES:
                    raise ClientError(f"The connection to the log broke {failures} times: {error}") from error
            else:
                failures = 0
                if call["status"] in FINAL or self.get_call(call_id)["status"] in FINAL:
                    return
            seen = max(seen, came)
            # The service ends a stream after a while; the next one begins with what was seen.
            time.sleep(FOLLOW_PAUSE)

    def _followed(self, call_id: str) -> Iterator[Record]:
        url = self._call_url(call_id, "log")
        with self.send("GET", url, params={"follow": "true"}, stream=True, timeout=FOLLOW_TIMEOUT) as answer:
            if not answer.headers.get("Content-Type", "").startswith("application/x-ndjson"):
                raise ClientError("The service answered with something that is not a log")
            for line in answer.iter_lines(chunk_size=None):
                if line:
                    yield Record(json.loads(line))
