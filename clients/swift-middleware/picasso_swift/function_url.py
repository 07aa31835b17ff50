"""The header `X-Function-URL` of users of the old filter.

The old one called whatever URL a user wrote there, with the user's token. Here a URL counts only where
it is one of Picasso's own, and only its path matters: Picasso runs that function itself.
"""

from urllib.parse import urlsplit

from picasso_swift.subscriptions import _APP, is_route

MAX_URL_BYTES = 1024
_DEFAULT_PORTS = {'http': 80, 'https': 443}


class FunctionUrlError(ValueError):
    """Why the header was ignored; for the user who sent it."""


def check(text, endpoints, project_id):
    """Returns the URL where it names a function of ours: `/r/APP/ROUTE`, which is public, or
    `/v1/r/PROJECT/APP/ROUTE` where PROJECT is that of the user's own token."""
    if len(text) > MAX_URL_BYTES or not text.isascii() or not text.isprintable():
        raise FunctionUrlError('the URL is not plain, or longer than %d bytes' % MAX_URL_BYTES)
    try:
        url = urlsplit(text)
        origin = _origin(url)
    except ValueError:
        raise FunctionUrlError('this is not a URL') from None
    if url.username is not None or '?' in text or '#' in text or '@' in url.netloc:
        raise FunctionUrlError('the URL must have no user, "?" or "#"')
    for endpoint in endpoints:
        base = urlsplit(endpoint)
        if _origin(base) == origin and url.path.startswith(base.path + '/'):
            _check_path(url.path[len(base.path):], project_id)
            return text
    raise FunctionUrlError('this is not the URL of a function of this cloud')


def _check_path(path, project_id):
    if path.startswith('/v1/r/'):
        project, _, rest = path[len('/v1/r/'):].partition('/')
        if not project_id or project != project_id:
            raise FunctionUrlError('the function belongs to another project than the token')
    elif path.startswith('/r/'):
        rest = path[len('/r/'):]
    else:
        raise FunctionUrlError('the path must begin with /r/ or /v1/r/')
    app, _, route = rest.partition('/')
    if not _APP.match(app) or not is_route(route):
        raise FunctionUrlError('the path does not name an app and a route')


def _origin(url):
    scheme = url.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ValueError('no origin')
    return scheme, url.hostname.lower(), url.port or _DEFAULT_PORTS[scheme]
