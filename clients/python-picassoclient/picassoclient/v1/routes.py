"""Routes: the functions of an app, their versions, aliases and webhook secrets."""

from collections.abc import Iterator
from typing import Any

from picassoclient.v1.apps import Apps
from picassoclient.v1.paths import route_path, segment
from picassoclient.v1.record import Record

#: Fields that a debug log must not have.
_SECRET = {"secrets", "jwt_key"}


class Routes(Apps):
    """`/v1/{project}/apps/{app}/routes` and `/v1/{project}/routes/{id}`."""

    def _route_url(self, app: str, path: str) -> str:
        return self._app_url(app, "routes", route_path(path))

    def _of_route(self, app: str, path: str, *parts: str) -> str:
        return self.url("routes", segment("route", self.get_route(app, path)["id"]), *parts)

    def routes(self, app: str, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """All routes of an app."""
        return self.pages(self._app_url(app, "routes"), "routes", query, limit)

    def create_route(self, app: str, path: str, image: str, **fields: Any) -> Record:
        """Makes a route; `fields` are those of `docs/api.md`."""
        body = {"route": {"path": path, "image": image, **fields}}
        url = self._app_url(app, "routes")
        return self.one("POST", url, "route", json=body, log=not _SECRET & fields.keys())

    def get_route(self, app: str, path: str) -> Record:
        """A route by its path."""
        return self.one("GET", self._route_url(app, path), "route")

    def update_route(self, app: str, path: str, *, if_match: str | None = None, **fields: Any) -> Record:
        """Changes the fields that are named; `config` and `secrets` are merged, `""` deletes one."""
        url = self._route_url(app, path)
        log = not _SECRET & fields.keys()
        return self.one("PUT", url, "route", json=fields, log=log, if_match=if_match)

    def delete_route(self, app: str, path: str) -> None:
        """Deletes a route with its versions and aliases."""
        self.send("DELETE", self._route_url(app, path))

    def versions(self, app: str, path: str, limit: int | None = None) -> Iterator[Record]:
        """The versions of a route, newest first."""
        # Pages of versions have 200 entries at most, other lists' 1000.
        url = self._of_route(app, path, "versions")
        for count, version in enumerate(self.pages(url, "versions", {"limit": min(limit or 200, 200)}), 1):
            yield version
            if count == limit:
                return

    def get_version(self, app: str, path: str, version: int) -> Record:
        """One version of a route."""
        return self.one("GET", self._of_route(app, path, "versions", segment("version", str(version))), "version")

    def roll_back(self, app: str, path: str, version: int) -> Record:
        """Makes a new version of what an older one ran; the route with it, which calls run from now on."""
        return self.one("POST", self._of_route(app, path, "rollback"), "route", json={"version": version})

    def aliases(self, app: str, path: str, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """The aliases of a route."""
        return self.pages(self._of_route(app, path, "aliases"), "aliases", query, limit)

    def create_alias(self, app: str, path: str, name: str, versions: list[dict[str, int]], **fields: Any) -> Record:
        """Makes an alias; `versions` is `[{"version": 3, "weight": 1}]`, `fields`: `is_public`, `sticky`."""
        body = {"alias": {"name": name, "versions": versions, **fields}}
        return self.one("POST", self._of_route(app, path, "aliases"), "alias", json=body)

    def get_alias(self, app: str, path: str, name: str) -> Record:
        """One alias of a route."""
        return self.one("GET", self._of_route(app, path, "aliases", segment("alias", name)), "alias")

    def update_alias(self, app: str, path: str, name: str, *, if_match: str | None = None, **fields: Any) -> Record:
        """Changes the fields that are named."""
        url = self._of_route(app, path, "aliases", segment("alias", name))
        return self.one("PUT", url, "alias", json=fields, if_match=if_match)

    def delete_alias(self, app: str, path: str, name: str) -> None:
        """Deletes an alias; its versions stay."""
        self.send("DELETE", self._of_route(app, path, "aliases", segment("alias", name)))

    def create_webhook_secret(self, app: str, path: str, kind: str) -> Record:
        """A new secret of the kind `signature` or `path`, shown this once."""
        url = self._of_route(app, path, "webhook-secrets", segment("kind", kind))
        return Record(self.send_json("POST", url, log=False))

    def delete_webhook_secret(self, app: str, path: str, kind: str) -> None:
        """Takes a webhook secret away."""
        self.send("DELETE", self._of_route(app, path, "webhook-secrets", segment("kind", kind)))
