"""Triggers: events that run functions."""

import itertools
from collections.abc import Iterator
from typing import Any

from picassoclient.v1._base import Base
from picassoclient.v1.paths import segment
from picassoclient.v1.record import Record


class Triggers(Base):
    """`/v1/{project}/triggers`."""

    def _trigger_url(self, trigger: str, *parts: str) -> str:
        return self.url("triggers", segment("trigger", trigger), *parts)

    def triggers(self, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """All triggers of the project."""
        return self.pages(self.url("triggers"), "triggers", query, limit)

    def create_trigger(self, name: str, app: str, route: str, kind: str, **fields: Any) -> Record:
        """Makes a trigger; `fields`: `options`, `filter`, `input`, `enabled`, `identity`, `version` or `alias`.

        Of a webhook `webhook` has the `url` that senders need, and the `signing_key` where it asks for
        signatures; neither is shown again.
        """
        body = {"trigger": {"name": name, "app": app, "route": route, "kind": kind, **fields}}
        return self.one("POST", self.url("triggers"), "trigger", json=body, log=False, kept=("webhook",))

    def get_trigger(self, trigger: str) -> Record:
        """A trigger by its name or id."""
        return self.one("GET", self._trigger_url(trigger), "trigger")

    def update_trigger(self, trigger: str, *, if_match: str | None = None, **fields: Any) -> Record:
        """Changes the fields that are named; `options` and `filter` are replaced as a whole."""
        url = self._trigger_url(trigger)
        return self.one("PUT", url, "trigger", json=fields, log=False, kept=("webhook",), if_match=if_match)

    def delete_trigger(self, trigger: str) -> None:
        """Deletes a trigger; calls it made go on."""
        self.send("DELETE", self._trigger_url(trigger))

    def pause_trigger(self, trigger: str) -> Record:
        """Stops it from firing until it is resumed."""
        return self.one("POST", self._trigger_url(trigger, "pause"), "trigger")

    def resume_trigger(self, trigger: str) -> Record:
        """Lets it fire again."""
        return self.one("POST", self._trigger_url(trigger, "resume"), "trigger")

    def fire_trigger(self, trigger: str, event: dict[str, Any] | None = None) -> Record:
        """Fires it now, with an event of one's own (`type`, `subject`, `data`) or an empty one."""
        body = {} if event is None else {"json": {"event": event}}
        return self.one("POST", self._trigger_url(trigger, "fire"), "firing", **body)

    def firings(self, trigger: str, limit: int | None = None) -> Iterator[Record]:
        """What became of its last events, newest first."""
        return itertools.islice(self.pages(self._trigger_url(trigger, "firings"), "firings", {}), limit)

    def create_trigger_secret(self, trigger: str) -> Record:
        """A new URL and signing key of a webhook, shown this once; those before it end."""
        url = self._trigger_url(trigger, "secret")
        return Record(self.one("POST", url, "trigger", log=False, kept=("webhook",)).get("webhook") or {})
