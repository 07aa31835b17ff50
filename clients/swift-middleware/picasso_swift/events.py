"""What a request to Swift's proxy would change, and the event that tells of it.

A request is looked at before it goes on: filters behind this one change the environment (a COPY becomes
a PUT of another path). No token is read here or anywhere else in this package.
"""

import re
import time
import uuid
from urllib.parse import parse_qsl, unquote

_METHODS = frozenset(('PUT', 'COPY', 'POST', 'DELETE'))
_PROJECT = re.compile(r'[A-Za-z0-9_-]{1,64}\Z')
_MAX_TEXT = 256
# Names of roles that are told, together, bytes.
_MAX_ROLES = 2048


class Change:
    """A request that changes an object when it succeeds; nothing has happened yet."""

    __slots__ = ('operation', 'account', 'container', 'object', 'project_id', 'source', 'size',
                 'content_type', 'request_id', 'identity', 'roles', 'params', 'method', 'input', 'container_path')

    def __init__(self):
        self.source = self.size = self.content_type = self.request_id = self.input = None
        self.identity = {}
        self.roles = []
        self.params = {}

    def event(self, headers):
        """The event of this change, which happened; `headers` are those of the answer."""
        event = {'id': uuid.uuid4().hex, 'time': _now(), 'operation': self.operation,
                 'account': self.account, 'project_id': self.project_id,
                 'container': self.container, 'object': self.object}
        size = self.size
        if size is None and self.operation == 'put':
            # Counted by Swift's proxy-logging, where it stands before this filter.
            size = getattr(self.input, 'bytes_received', None)
        if size is not None:
            event['size'] = size
        if self.operation in ('put', 'copy', 'segments_completed'):
            for name, value in headers:
                if name.lower() == 'etag' and len(value) <= _MAX_TEXT:
                    event['etag'] = value.strip('"')
        if self.content_type:
            event['content_type'] = self.content_type
        event.update(self.identity)
        if self.request_id:
            event['request_id'] = self.request_id
        if self.source:
            event['source'] = self.source
        return event


def change(environ, prefixes):
    """What the request would change; None where it is not about an object of a project.

    `prefixes` are the beginnings of account names (`AUTH_`); what follows is the project's id.
    """
    method = environ['REQUEST_METHOD']
    if method not in _METHODS:
        return None
    pieces = _pieces(environ.get('SCRIPT_NAME', '') + environ['PATH_INFO'])
    if pieces is None:
        return None
    made = Change()
    made.method = method
    made.account, made.container, made.object = pieces
    query = environ.get('QUERY_STRING')
    if query:
        made.params = dict(parse_qsl(query[:8192], keep_blank_values=True))
        # The filter for bulk requests stands behind this one: the path is no object's. (Its own requests
        # for single objects keep the query, and say where they come from.)
        if environ.get('swift.source') not in ('EA', 'BD') and (
                'extract-archive' in made.params or 'bulk-delete' in made.params):
            return None
    if not _operation(made, environ):
        return None
    made.project_id = _project(made.account, prefixes)
    if made.project_id is None or made.container.startswith('\0'):
        # Containers of that name are Swift's own.
        return None
    made.container_path = '/v1/%s/%s' % (_wsgi(made.account), _wsgi(made.container))
    made.identity = identity(environ)
    made.roles = roles(environ)
    made.request_id = _short(environ.get('swift.trans_id'))
    return made


def identity(environ):
    """Who asks, as Keystone said: from what keystonemiddleware leaves, never from headers, which a client
    can write where that is missing."""
    token = _token(environ)
    found = {'user_id': _id(token, 'user'), 'user_project_id': _id(token, 'project'),
             'trust_id': _id(token, 'OS-TRUST:trust'),
             'application_credential_id': _id(token, 'application_credential')}
    return {name: value for name, value in found.items() if value}


def roles(environ):
    """The names of the asker's roles, from the same place."""
    found = _token(environ).get('roles')
    names = [role.get('name') for role in found if isinstance(role, dict)] if isinstance(found, list) else []
    told, left = [], _MAX_ROLES
    for name in names:
        if isinstance(name, str) and 0 < len(name) <= _MAX_TEXT:
            left -= len(name.encode('utf-8', 'replace'))
            if left < 0:
                break
            told.append(name)
    return told


def _token(environ):
    token = (environ.get('keystone.token_info') or {}).get('token')
    return token if isinstance(token, dict) else {}


def _operation(made, environ):
    method = made.method
    if method == 'COPY':
        target = _target(environ.get('HTTP_DESTINATION'))
        if target is None:
            return False
        made.source = {'container': made.container, 'object': made.object}
        account = environ.get('HTTP_DESTINATION_ACCOUNT')
        if account:
            account = _utf8(unquote(account, encoding='latin-1'))
            if not account:
                return False
            if account != made.account:
                made.source['account'] = made.account
            made.account = account
        made.container, made.object = target
        made.operation = 'copy'
    elif method == 'PUT' and environ.get('HTTP_X_COPY_FROM'):
        source = _target(environ['HTTP_X_COPY_FROM'])
        if source is None:
            return False
        made.source = {'container': source[0], 'object': source[1]}
        account = _utf8(unquote(environ.get('HTTP_X_COPY_FROM_ACCOUNT', ''), encoding='latin-1'))
        if account and account != made.account:
            made.source['account'] = account
        made.operation = 'copy'
    elif method == 'PUT':
        manifest = made.params.get('multipart-manifest') == 'put' or environ.get('HTTP_X_OBJECT_MANIFEST')
        made.operation = 'segments_completed' if manifest else 'put'
        made.input = environ.get('wsgi.input')
        length = environ.get('CONTENT_LENGTH')
        if length and length.isdigit() and not manifest:
            made.size = int(length)
    else:
        made.operation = method.lower()
    if method != 'DELETE':
        made.content_type = _short(environ.get('CONTENT_TYPE'))
    return True


def _pieces(path):
    """Account, container and object out of `/v1/account/container/object`."""
    pieces = path.split('/', 4)
    if len(pieces) != 5 or pieces[0] or pieces[1] not in ('v1', 'v1.0') or not all(pieces[2:]):
        return None
    names = [_utf8(piece) for piece in pieces[2:]]
    return names if all(names) else None


def _target(text):
    """Container and object out of a header such as `X-Copy-From`."""
    path = _utf8(unquote(text or '', encoding='latin-1'))
    container, slash, name = (path or '').lstrip('/').partition('/')
    return (container, name) if container and name else None


def _project(account, prefixes):
    for prefix in prefixes:
        if account.startswith(prefix) and _PROJECT.match(account[len(prefix):]):
            return account[len(prefix):]
    return None


def _utf8(text):
    """WSGI's text, which is bytes in the clothes of latin-1; None where they are no UTF-8."""
    try:
        return text.encode('latin-1').decode('utf-8')
    except (UnicodeEncodeError, UnicodeDecodeError):
        return None


def _wsgi(text):
    return text.encode('utf-8').decode('latin-1')


def _short(text):
    if not isinstance(text, str) or not text:
        return None
    return _utf8(text[:_MAX_TEXT])


def _id(token, part):
    value = token.get(part)
    value = value.get('id') if isinstance(value, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT else None


def _now():
    now = time.time()
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now)) + '.%03dZ' % (now % 1 * 1000)
