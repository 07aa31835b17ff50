"""Names of resources as parts of URLs; a name never leads out of its place."""

from urllib.parse import quote, unquote

from picassoclient.errors import ClientError

#: What may stand in a segment as it is (RFC 3986, `pchar`).
_SEGMENT = "!$&'()*+,;=:@-._~"


def segment(what: str, name: str) -> str:
    """One segment; `what` says in an error whose name it is."""
    name = str(name)
    if not name:
        raise ClientError(f"{what}: a name is needed")
    if name in (".", ".."):
        raise ClientError(f"{what}: {name!r} is not a name")
    return quote(name, safe=_SEGMENT)


def route_path(path: str) -> str:
    """The path of a route without its leading slash: `users/:id`."""
    return _path("route", path, _SEGMENT + "/")


def call_path(path: str) -> str:
    """The path of a call as the caller wrote it: what is percent-encoded stays so."""
    return _path("path", path, _SEGMENT + "/%")


def _path(what: str, path: str, safe: str) -> str:
    path = str(path).removeprefix("/")
    # Clients and proxies resolve `..` before the service sees it: the request would be another one.
    if any(unquote(part) in (".", "..") for part in path.split("/")):
        raise ClientError(f'{what}: "/{path}" has a segment that is "." or ".."')
    return quote(path, safe=safe)
