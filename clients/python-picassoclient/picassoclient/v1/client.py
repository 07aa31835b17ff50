"""The client of 2017: `apps` and `routes`, with the requests that it sent.

`openstack fn …` and old scripts go this way. Its defects are mended: an update of an app works, the type of a
route can be changed, a value of 0 is sent, and public functions are found by their short name, too.
"""

from typing import Any

from keystoneauth1 import session as keystone_session
from openstack import connection, service_description

from picassoclient.errors import ClientError
from picassoclient.v1._base import Base
from picassoclient.v1.paths import route_path, segment
from picassoclient.v1.proxy import Proxy


class Apps:
    """Apps of the project of the token."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def create(self, app_name: str, config: dict[str, str] | None = None) -> dict[str, Any]:
        """Makes an app."""
        app = {"name": app_name, **({"config": config} if config else {})}
        return _send(self._proxy, "POST", self._url(), json={"app": app})

    def list(self) -> dict[str, Any]:
        """All apps."""
        return _send(self._proxy, "GET", self._url())

    def show(self, app_name: str) -> dict[str, Any]:
        """One app."""
        return _send(self._proxy, "GET", self._url(app_name))

    def update(self, app_name: str, config: dict[str, str]) -> dict[str, Any]:
        """Merges `config` into the app's; `""` deletes a key."""
        return _send(self._proxy, "PUT", self._url(app_name), json={"config": config})

    def delete(self, app_name: str) -> dict[str, Any]:
        """Deletes an app without routes."""
        return _send(self._proxy, "DELETE", self._url(app_name))

    def _url(self, *app: str) -> str:
        return self._proxy.url("apps", *(segment("app", name) for name in app))


class Routes:
    """Routes of an app."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def create(
        self,
        app_name: str,
        execution_type: str,
        route: str,
        image: str,
        is_public: bool = False,
        memory: int | None = None,
        timeout: int | None = None,
        max_concurrency: int | None = None,
        config: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Makes a route; what is not said is what the client of 2017 chose."""
        fields = {
            "type": execution_type,
            "path": route,
            "image": image,
            "memory": 128 if memory is None else memory,
            "timeout": 30 if timeout is None else timeout,
            "max_concurrency": 1 if max_concurrency is None else max_concurrency,
            "is_public": str(bool(is_public)).lower(),
            "config": config or {},
        }
        return _send(self._proxy, "POST", self._url(app_name), json={"route": fields})

    def list(self, app_name: str) -> dict[str, Any]:
        """All routes of an app."""
        return _send(self._proxy, "GET", self._url(app_name))

    def show(self, app_name: str, route: str) -> dict[str, Any]:
        """One route."""
        return _send(self._proxy, "GET", self._url(app_name, route))

    def update(self, app_name: str, route: str, **data: Any) -> dict[str, Any]:
        """Changes the fields that are named."""
        return _send(self._proxy, "PUT", self._url(app_name, route), json=data)

    def delete(self, app_name: str, route: str) -> dict[str, Any]:
        """Deletes a route."""
        return _send(self._proxy, "DELETE", self._url(app_name, route))

    def execute(self, app_name: str, route: str, supply_auth_properties: bool = False, **data: Any) -> dict[str, Any]:
        """Runs a function with a JSON object; `result` of the answer is what it printed.

        `supply_auth_properties` hands OS_AUTH_URL, OS_TOKEN and OS_PROJECT_ID over to the function, which can
        then do whatever the token's user may.
        """
        proxy = self._proxy
        path = route_path(route)
        if supply_auth_properties:
            data.update(OS_AUTH_URL=_auth_url(proxy), OS_TOKEN=proxy.get_token(), OS_PROJECT_ID=proxy.get_project_id())
        project = segment("project", proxy.get_project_id() or "")
        url = f"/v1/r/{project}/{segment('app', app_name)}/{path}"
        return _send(proxy, "POST", url, json=data, log=False, timeout=(10, 960))

    def expose_url(self, app_name: str, route: str) -> str:
        """The URL that runs the function; without a token where it is public."""
        proxy = self._proxy
        path = route_path(route)
        endpoint = (proxy.get_endpoint() or "").rstrip("/")
        if self.show(app_name, route)["route"].get("is_public"):
            # Strangers do not know the project: only the full name is unique.
            name = Apps(proxy).show(app_name)["app"]["name"]
            return f"{endpoint}/r/{segment('app', name)}/{path}"
        project = segment("project", proxy.get_project_id() or "")
        return f"{endpoint}/v1/r/{project}/{segment('app', app_name)}/{path}"

    def _url(self, app: str, *route: str) -> str:
        return self._proxy.url("apps", segment("app", app), "routes", *(route_path(path) for path in route))


class Client:
    """Apps and routes, by a keystoneauth session or the proxy of a connection."""

    def __init__(
        self,
        session: keystone_session.Session | None = None,
        auth: Any = None,
        region_name: str | None = None,
        endpoint_type: str = "public",
        endpoint_override: str | None = None,
        proxy: Proxy | None = None,
        **_of_2017: Any,
    ) -> None:
        if proxy is None:
            options = {"functions_interface": endpoint_type.removesuffix("URL")}
            if endpoint_override:
                options["functions_endpoint_override"] = endpoint_override
            conn = connection.Connection(session=_session_of(session, auth), region_name=region_name, **options)
            conn.add_service(service_description.ServiceDescription("functions", {"1": Proxy}))
            proxy = conn.functions
        self.apps = Apps(proxy)
        self.routes = Routes(proxy)


def _send(proxy: Base, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
    # Without a version: the service answers as it did in 2017.
    return proxy.send_json(method, url, microversion=None, **kwargs)


def _auth_url(proxy: Proxy) -> str | None:
    auth = proxy.auth or proxy.session.auth
    # Not every way to log in has a URL of its own; the configuration of the cloud does.
    return getattr(auth, "auth_url", None) or proxy._get_connection().config.get_auth_args().get("auth_url")


def _session_of(session: keystone_session.Session | None, auth: Any) -> keystone_session.Session:
    """A session that authenticates by `auth`, where one is given."""
    if session is None:
        raise ClientError("A keystoneauth session is needed: Client('v1', session=…)")
    if auth is None:
        return session
    return keystone_session.Session(auth=auth, verify=session.verify, cert=session.cert, timeout=session.timeout)
