"""How much the project may have."""

from picassoclient.v1._base import Base
from picassoclient.v1.record import Record


class Limits(Base):
    """`/v1/{project}/limits`."""

    def get_limits(self) -> Record:
        """By resource: `{"functions_apps": {"limit": 500, "usage": 3, "source": "default"}}`."""
        return self.one("GET", self.url("limits"), "limits")
