"""How requests are sent: bounded in time, without redirects, and never twice unless that is harmless."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from openstack import exceptions, proxy

from picassoclient.errors import ClientError
from picassoclient.v1.paths import segment
from picassoclient.v1.record import Record

#: The version that answers creates with 201 and pages with links.
MICROVERSION = "1.1"
#: Seconds for a connection, and for each piece of an answer.
TIMEOUT = (10, 60)
#: The most pages of one list; a service that always names another one is not followed for ever.
MAX_PAGES = 10_000


class Base(proxy.Proxy):
    """What the parts of the proxy share."""

    # The catalog has the root of the API; every path here begins there.
    skip_discovery = True

    def url(self, *parts: str) -> str:
        """A path below the project of the token; the parts are encoded already."""
        project = self.get_project_id()
        if not project:
            raise ClientError("The token is not for a project; name one (OS_PROJECT_NAME or --os-project-name)")
        return "/".join(["/v1", segment("project", project), *parts])

    def send(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """A request whose failure is an exception of openstacksdk that tells the service's reason."""
        kwargs.setdefault("timeout", TIMEOUT)
        kwargs.setdefault("microversion", MICROVERSION)
        if method != "GET":
            # It may have been carried out although no answer came.
            kwargs.setdefault("connect_retries", 0)
        # A token is for this service and nobody it names.
        response = self.request(url, method, redirect=False, skip_cache=True, **kwargs)
        if 300 <= response.status_code < 400:
            target = urlsplit(response.headers.get("Location", "")).netloc or "another address"
            raise ClientError(
                f"The service's endpoint redirects to {target}, which is not followed with a token: "
                "the catalog's endpoint of type functions should be the service itself"
            )
        exceptions.raise_from_response(response)
        return response

    def send_json(self, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
        """The answer's JSON object; empty where there is no body."""
        return self.object_of(self.send(method, url, **kwargs))

    @staticmethod
    def object_of(response: requests.Response) -> dict[str, Any]:
        """The JSON object of an answer."""
        if response.status_code == 204 or not response.content:
            return {}
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ClientError(
                f"{urlsplit(response.url).path} was answered with something that is not a JSON object; "
                "is the catalog's endpoint of type functions Picasso?"
            )
        return answer

    def one(self, method: str, url: str, key: str, **kwargs: Any) -> Record:
        """The resource that an answer has under `key`; what stands beside it in `kept` comes along."""
        kept = kwargs.pop("kept", ())
        if_match = kwargs.pop("if_match", None)
        if if_match is not None:
            kwargs["headers"] = {"If-Match": if_match, **kwargs.get("headers", {})}
        response = self.send(method, url, **kwargs)
        answer = self.object_of(response)
        if not isinstance(answer.get(key), dict):
            raise ClientError(f"The answer has no {key!r}")
        record = Record(answer[key])
        record.update({name: answer[name] for name in kept if answer.get(name) is not None})
        record.etag = response.headers.get("ETag")
        return record

    def pages(self, url: str, key: str, query: dict[str, Any], most: int | None = None) -> Iterator[Record]:
        """All entries of a list, page after page; `most` bounds how many."""
        query = {name: value for name, value in query.items() if value is not None}
        if most is not None:
            query["limit"] = min(most, 1000)
        left = most
        for _ in range(MAX_PAGES):
            answer = self.send_json("GET", url, params=query)
            entries = answer.get(key)
            if not isinstance(entries, list):
                raise ClientError(f"The answer has no {key!r}")
            for entry in entries:
                if left == 0:
                    return
                left = None if left is None else left - 1
                yield Record(entry)
            links = answer.get(f"{key}_links") or []
            following = next((link["href"] for link in links if link.get("rel") == "next"), None)
            if following is None or left == 0 or not entries:
                return
            # Only the query is taken over: the link's host is where a proxy may stand, or anybody.
            after = dict(parse_qsl(urlsplit(following).query))
            if after.get("marker") == query.get("marker"):
                return
            query = after
