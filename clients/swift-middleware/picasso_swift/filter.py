"""The filter itself: passes each request on once, and keeps an event of each that changed an object.

The client's request is never failed and never run again here; what goes wrong in this file is logged.
"""

import fnmatch
import time

from picasso_swift import events, function_url, outcome, subscriptions
from picasso_swift.counters import Counters, statsd_client
from picasso_swift.outbox import Outbox, PerProcess
from picasso_swift.spool import make_folder
from swift.common.utils import get_logger
from swift.proxy.controllers.base import get_cache_key, get_container_info

_CONTAINER_METHODS = frozenset(('PUT', 'POST'))
URL_HEADER = 'X-Function-Url-Status'
META_HEADER = 'X-Container-Function-Status'


class PicassoFilter:
    """WSGI middleware; stands behind the filters that authenticate and before `copy`."""

    def __init__(self, app, conf, settings):
        self.app = app
        self.settings = settings
        self.logger = get_logger(conf, log_route='picasso')
        self.counters = Counters(statsd_client(conf, self.logger))
        self.outboxes = PerProcess(lambda: Outbox(settings, self.counters, self.logger))
        self._complained = -60
        # A folder that cannot be used is told at the start, not by the first upload.
        make_folder(settings.spool_dir)

    def __call__(self, environ, start_response):
        try:
            # Also a request that only reads starts the worker: the spool may hold events of before.
            self.outboxes.get()
            seen = self._look(environ)
        except Exception:
            self._failed()
            seen = None
        if seen is None:
            return self.app(environ, start_response)
        started = seen.starter(start_response)
        body = self.app(environ, started)
        if seen.in_body:
            return outcome.ToldBody(body, seen.told)
        return body

    def _look(self, environ):
        if environ['REQUEST_METHOD'] in _CONTAINER_METHODS:
            said = subscriptions.judged(environ)
            if said is not None and environ['PATH_INFO'].rstrip('/').count('/') == 3:
                return _ContainerRequest(said)
        change = events.change(environ, self.settings.reseller_prefixes)
        if change is None or change.project_id in self.settings.skip_projects:
            return None
        if any(fnmatch.fnmatchcase(change.container, glob) for glob in self.settings.skip_containers):
            return None
        # Made here, so that what the proxy learns of the container on its way is known here afterwards.
        environ.setdefault('swift.infocache', {})
        return _ObjectRequest(self, environ, change)

    def keep(self, environ, change, headers, url):
        """The change happened: its event goes to the outbox, one copy for each subscription."""
        try:
            wanted = self._subscriptions(environ, change)
        except Exception:
            # Triggers can still be told.
            self._failed()
            wanted = []
        try:
            if self.settings.only_subscribed and not wanted and not url:
                return
            event = change.event(headers)
            if url:
                event['function_url'] = url
                # Whether the asker may call that function is for Picasso to say.
                event['user_roles'] = change.roles
            outbox = self.outboxes.get()
            for subscription in wanted or [None]:
                if subscription is not None:
                    event['subscription'] = subscription.as_json()
                # The same id each time: it is one event, whatever it fires besides.
                outbox.put(event)
                event.pop('function_url', None)
                event.pop('user_roles', None)
        except Exception:
            self._failed()

    def _subscriptions(self, environ, change):
        # The proxy itself had to know the container, and what it learned is in here. Read directly:
        # get_container_info would copy all of it.
        info = environ['swift.infocache'].get(get_cache_key(change.account, change.container))
        if info is None:
            info = self._asked(environ, change)
        found = subscriptions.of_container(info.get('meta') or {})
        return [one for one in found if one.wants(change.operation, change.object)]

    def _asked(self, environ, change):
        # The request's own environment may stand for another path by now.
        asked = {'PATH_INFO': change.container_path, 'REQUEST_METHOD': 'HEAD'}
        for name in ('swift.infocache', 'swift.cache', 'swift.trans_id', 'SERVER_NAME', 'SERVER_PORT',
                     'SERVER_PROTOCOL', 'HTTP_HOST', 'wsgi.url_scheme', 'wsgi.errors'):
            if name in environ:
                asked[name] = environ[name]
        self.counters.add('container.asked')
        return get_container_info(asked, self.app, swift_source='PIC')

    def function_url(self, environ, change):
        """The URL of `X-Function-URL` where it counts, and what the client is told of it."""
        text = environ.get('HTTP_X_FUNCTION_URL')
        if not text:
            return None, None
        try:
            url = function_url.check(text, self.settings.function_url_endpoints,
                                     change.identity.get('user_project_id'))
        except function_url.FunctionUrlError as error:
            self.counters.add('function_url.ignored')
            return None, 'ignored: %s' % error
        return url, 'accepted'

    def _failed(self):
        self.counters.add('errors')
        now = time.monotonic()
        # One line in ten seconds, not one for each request.
        if now - self._complained >= 10:
            self._complained = now
            self.logger.exception('picasso: an event may be missing; the request was not touched')


class _ObjectRequest:
    """One request on its way through Swift, until its status is known."""

    def __init__(self, owner, environ, change):
        self.owner, self.environ, self.change = owner, environ, change
        self.in_body = outcome.tells_in_body(change.method, change.params)
        # Read now: the environment is others' to change from here on.
        self.url, self.said = owner.function_url(environ, change)
        self.kept = False
        self.headers = None

    def starter(self, start_response):
        def started(status, headers, exc_info=None):
            if self.said:
                headers = list(headers) + [(URL_HEADER, self.said)]
            self.headers = headers
            if status.startswith('2') and not (self.in_body and status[:3] in ('200', '202')):
                self.told()
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)
        return started

    def told(self):
        """It succeeded. Before this returns the event is kept; the client has not heard yet."""
        if not self.kept:
            self.kept = True
            self.owner.keep(self.environ, self.change, self.headers or [], self.url)


class _ContainerRequest:
    """A request that sets subscriptions: whoever sets them hears which were understood."""

    in_body = False

    def __init__(self, said):
        self.said = said

    def starter(self, start_response):
        def started(status, headers, exc_info=None):
            if status.startswith('2'):
                headers = list(headers) + [(META_HEADER, self.said)]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)
        return started
