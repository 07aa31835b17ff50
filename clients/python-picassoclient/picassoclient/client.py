"""The library's way in of 2017: `client.Client('v1', session=…)`, whose answers are the service's JSON."""

from typing import Any

from picassoclient.errors import ClientError
from picassoclient.v1 import client as v1


def Client(version: str | int, *args: Any, **kwargs: Any) -> v1.Client:  # noqa: N802 - the name of 2017
    """The client of a version of the API; there is `v1`."""
    if str(version).removeprefix("v").split(".")[0] != "1":
        raise ClientError(f"There is no version {version!r} of the API, only 'v1'")
    return v1.Client(*args, **kwargs)
