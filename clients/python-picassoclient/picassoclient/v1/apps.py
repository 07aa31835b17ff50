"""Apps: what groups functions, their configuration and secrets."""

from collections.abc import Iterator
from typing import Any

from picassoclient.v1._base import Base
from picassoclient.v1.paths import segment
from picassoclient.v1.record import Record


class Apps(Base):
    """`/v1/{project}/apps`."""

    def _app_url(self, app: str, *parts: str) -> str:
        return self.url("apps", segment("app", app), *parts)

    def apps(self, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """All apps; `query` filters and sorts (`docs/api.md`, Lists)."""
        return self.pages(self.url("apps"), "apps", query, limit)

    def create_app(self, name: str, **fields: Any) -> Record:
        """Makes an app; `fields`: `description`, `config`, `secrets`, `cors`."""
        body = {"app": {"name": name, **fields}}
        return self.one("POST", self.url("apps"), "app", json=body, log="secrets" not in fields)

    def get_app(self, app: str) -> Record:
        """An app by its short or full name."""
        return self.one("GET", self._app_url(app), "app")

    def update_app(self, app: str, *, if_match: str | None = None, **fields: Any) -> Record:
        """Changes the fields that are named; `config` and `secrets` are merged, `""` deletes one."""
        log = "secrets" not in fields
        return self.one("PUT", self._app_url(app), "app", json=fields, log=log, if_match=if_match)

    def delete_app(self, app: str) -> None:
        """Deletes an app that has no routes."""
        self.send("DELETE", self._app_url(app))

    def create_signing_key(self, app: str) -> str:
        """Gives an app a new key that its deliveries are signed with; it is shown this once."""
        answer = self.send_json("POST", self._app_url(app, "signing-key"), log=False)
        return str(answer["signing_key"])
