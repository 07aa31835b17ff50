"""In whose name a function acts in OpenStack."""

from typing import Any

from picassoclient.v1.record import Record
from picassoclient.v1.routes import Routes


class Identities(Routes):
    """`/v1/{project}/routes/{id}/identity`."""

    def get_identity(self, app: str, path: str) -> Record:
        """The identity of a route; its `type` is `none` where there is none."""
        return self.one("GET", self._of_route(app, path, "identity"), "identity")

    def set_identity(self, app: str, path: str, **identity: Any) -> Record:
        """`type="trust", roles=[…]`, or `type="application_credential", id=…, secret=…`."""
        url = self._of_route(app, path, "identity")
        return self.one("PUT", url, "identity", json={"identity": identity}, log=False)

    def delete_identity(self, app: str, path: str) -> None:
        """Takes the identity away: the function acts as nobody."""
        self.send("DELETE", self._of_route(app, path, "identity"))

    def consent_identity(self, app: str, path: str) -> Record:
        """The grantor agrees to what somebody else changed; ends the suspension."""
        return self.one("POST", self._of_route(app, path, "identity", "consent"), "identity")
