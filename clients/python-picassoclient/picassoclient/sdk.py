"""How openstacksdk learns of the service: `conn.functions` is a proxy like `conn.compute`."""

from typing import Any

import openstack
from openstack import connection, service_description

from picassoclient.v1.proxy import Proxy


class FunctionsService(service_description.ServiceDescription):
    """The service of type `functions`; give it to `Connection.add_service` or as one of its `extra_services`."""

    def __init__(self, service_type: str = "functions", **kwargs: Any) -> None:
        super().__init__(service_type, {"1": Proxy}, **kwargs)


def register(conn: connection.Connection) -> None:
    """Gives a connection its `functions`; in clouds.yaml: `vendor_hook: picassoclient:register`."""
    conn.add_service(FunctionsService())


def connect(**kwargs: Any) -> connection.Connection:
    """A connection that has `functions`; takes what `openstack.connect` takes, or a keystoneauth `session`."""
    conn = connection.Connection(**kwargs) if "session" in kwargs else openstack.connect(**kwargs)
    register(conn)
    return conn
