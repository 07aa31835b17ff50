"""Subscriptions in a container's metadata.

    X-Container-Meta-Function-Thumb: photos/resize ops=put,copy prefix=in/ suffix=.jpg

The value comes from a user. It is read strictly: what is not understood is ignored as a whole, and
whoever sets it is told by a header of the answer.
"""

import re
from urllib.parse import unquote

MAX_SUBSCRIPTIONS = 10
MAX_VALUE_BYTES = 1024
OPERATIONS = ('put', 'copy', 'post', 'delete', 'segments_completed')
DEFAULT_OPERATIONS = frozenset(('put', 'copy', 'segments_completed'))

_META = 'function-'
_NAME = re.compile(r'[a-z0-9][a-z0-9-]{0,62}\Z')
_APP = re.compile(r'[A-Za-z0-9_-]{1,128}\Z')
# As Picasso has it for the literal parts of a route's path.
_BAD_IN_ROUTE = re.compile(r'[\x00-\x20\x7f?#%\\:*]')


class SubscriptionError(ValueError):
    """Why a subscription is not understood; for the user who wrote it."""


class Subscription:
    """One function that wants to hear of changes in one container."""

    __slots__ = ('name', 'app', 'route', 'operations', 'prefix', 'suffix')

    def __init__(self, name, app, route, operations, prefix, suffix):
        self.name, self.app, self.route = name, app, route
        self.operations, self.prefix, self.suffix = operations, prefix, suffix

    def wants(self, operation, name):
        """Whether it takes this change of the object of that name."""
        return (operation in self.operations and name.startswith(self.prefix)
                and name.endswith(self.suffix))

    def as_json(self):
        """As it stands in an event."""
        return {'app': self.app, 'route': self.route}


def parse(name, value):
    """Reads one. `name` is what follows `Function-` in the header's name."""
    if not _NAME.match(name):
        raise SubscriptionError('the name must be 1 to 63 letters, digits or "-"')
    if len(value) > MAX_VALUE_BYTES:
        raise SubscriptionError('the value is longer than %d bytes' % MAX_VALUE_BYTES)
    words = value.split()
    if not words:
        raise SubscriptionError('the value must be APP/ROUTE, then ops=, prefix= or suffix=')
    app, route = _function(words[0])
    found = {}
    for word in words[1:]:
        key, equals, text = word.partition('=')
        if key not in ('ops', 'prefix', 'suffix') or not equals or not text:
            raise SubscriptionError('after APP/ROUTE come only ops=, prefix= and suffix=')
        if key in found:
            raise SubscriptionError('%s= is there twice' % key)
        found[key] = text
    return Subscription(name, app, route, _operations(found.get('ops')),
                        _text(found.get('prefix')), _text(found.get('suffix')))


def of_container(metadata):
    """The subscriptions in a container's metadata (`meta` of Swift's get_container_info): at most ten,
    in the order of their names; what is not understood is left out."""
    found = []
    for key in sorted(key for key in metadata if key.lower().startswith(_META)):
        if len(found) == MAX_SUBSCRIPTIONS:
            break
        try:
            found.append(parse(key.lower()[len(_META):], _native(metadata[key])))
        except SubscriptionError:
            continue
    return found


def judged(environ):
    """What the headers of a request that changes a container say, one text for each subscription, for
    the answer; None where there are none."""
    prefix = 'HTTP_X_CONTAINER_META_FUNCTION_'
    keys = sorted(key for key in environ if key.startswith(prefix) and environ[key])
    if not keys:
        return None
    said = []
    for key in keys[:MAX_SUBSCRIPTIONS]:
        name = key[len(prefix):].replace('_', '-').lower()
        if not _NAME.match(name):
            said.append('ignored: a name must be 1 to 63 letters, digits or "-"')
            continue
        try:
            parse(name, _native(environ[key]))
            said.append('%s accepted' % name)
        except SubscriptionError as error:
            said.append('%s ignored: %s' % (name, error))
    if len(keys) > MAX_SUBSCRIPTIONS:
        said.append('the others ignored: a container has at most %d' % MAX_SUBSCRIPTIONS)
    return '; '.join(said)


def _function(text):
    app, slash, route = text.partition('/')
    if not slash or not _APP.match(app):
        raise SubscriptionError('the first word must be APP/ROUTE')
    if not is_route(route):
        raise SubscriptionError('the route is not a plain path')
    return app, '/' + route


def is_route(text):
    """Whether this is a route's path, without its leading slash, that names no parameter."""
    if not text or len(text.encode('utf-8', 'replace')) > 511 or _BAD_IN_ROUTE.search(text):
        return False
    return all(segment not in ('', '.', '..') for segment in text.split('/'))


def _operations(text):
    if text is None:
        return DEFAULT_OPERATIONS
    words = text.split(',')
    if len(words) > len(OPERATIONS) or any(word not in OPERATIONS for word in words):
        raise SubscriptionError('ops= must be of %s' % ','.join(OPERATIONS))
    return frozenset(words)


def _text(text):
    """A prefix or suffix; percent-encoded, so that it may hold blanks and any letter."""
    return unquote(text) if text else ''


def _native(value):
    """Header values arrive as bytes in the clothes of latin-1."""
    try:
        return value.encode('latin-1').decode('utf-8')
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value
