"""The filter around an app, as Swift's proxy runs it. Needs Swift to be installed."""

import os
import tempfile
import unittest

from picasso_swift import events
from picasso_swift.filter import META_HEADER, URL_HEADER, PicassoFilter
from picasso_swift.outbox import PerProcess
from swift.common.swob import Request
from swift.proxy.controllers.base import get_cache_key
from tests.support import settings

PATH = '/v1/AUTH_p/c/o'


class App:
    """Answers as it is told and counts."""

    def __init__(self, status='201 Created', headers=(), pieces=(b'',), meta=None, lazily=False):
        self.status, self.headers, self.pieces, self.lazily = status, list(headers), pieces, lazily
        self.meta, self.calls = meta, 0

    def __call__(self, environ, start_response):
        self.calls += 1
        cached = environ.get('swift.infocache')
        if cached is not None:
            cached[get_cache_key('AUTH_p', 'c')] = {'status': 200, 'meta': self.meta or {}}
        # As `copy` does: the environment is another afterwards.
        environ['PATH_INFO'] = '/v1/AUTH_else/where/else'
        environ['REQUEST_METHOD'] = 'GET'
        if self.lazily:
            return self.body(start_response)
        start_response(self.status, self.headers)
        return list(self.pieces)

    def body(self, start_response):
        start_response(self.status, self.headers)
        yield from self.pieces


class Outbox:
    def __init__(self):
        self.events = []

    def put(self, event):
        self.events.append(dict(event))

    def start(self):
        pass

    def forget(self):
        pass


class Filters(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = os.path.join(made.name, 'spool')

    def filter(self, app, **options):
        made = PicassoFilter(app, {}, settings(self.folder, endpoint='http://picasso:10001', **options))
        self.outbox = Outbox()
        made.outboxes = PerProcess(lambda: self.outbox)
        return made

    def send(self, app, method='PUT', path=PATH, headers=None, options=None, environ=None):
        request = Request.blank(path, environ=dict(environ or {}, REQUEST_METHOD=method), headers=headers or {})
        answer = request.get_response(self.filter(app, **(options or {})))
        # Events of heartbeats are told by the body.
        self.assertIsNotNone(answer.body)
        return answer

    def test_a_request_runs_once_and_its_answer_stays_as_it_was(self):
        for lazily in (False, True):
            app = App(headers=[('Etag', 'abc'), ('X-Odd', '1')], pieces=(b'a', b'b'), lazily=lazily)
            answer = self.send(app)
            self.assertEqual((app.calls, answer.status, answer.body), (1, '201 Created', b'ab'))
            self.assertEqual((answer.headers['X-Odd'], len(self.outbox.events)), ('1', 1))
            self.assertEqual(self.outbox.events[0]['etag'], 'abc')
            self.assertEqual(self.outbox.events[0]['container'], 'c')

    def test_what_failed_is_no_event(self):
        for status in ('401 Unauthorized', '404 Not Found', '499 Client Disconnect', '503 x', '304 Not Modified'):
            self.send(App(status))
            self.assertEqual(self.outbox.events, [])

    def test_nothing_that_breaks_in_the_filter_reaches_the_client(self):
        def broken(*args):
            raise RuntimeError('broken')
        for target, name in [(events, 'change'), (events.Change, 'event'), (Outbox, 'put'), (Outbox, 'start')]:
            real = getattr(target, name)
            self.addCleanup(setattr, target, name, real)
            setattr(target, name, broken)
            app = App()
            self.assertEqual((self.send(app).status_int, app.calls), (201, 1), name)
            setattr(target, name, real)

    def test_a_fault_of_the_app_stays_the_apps(self):
        def app(environ, start_response):
            raise KeyError('of the app')
        with self.assertRaises(KeyError):
            self.send(app)

    def test_a_heartbeat_is_an_event_when_its_body_says_so(self):
        path = PATH + '?multipart-manifest=put&heartbeat=on'
        self.send(App('202 Accepted', pieces=(b' ', b'\r\n\r\nResponse Status: 201 Created\n')), path=path)
        self.assertEqual(self.outbox.events[0]['operation'], 'segments_completed')
        self.send(App('202 Accepted', pieces=(b' ', b'\r\n\r\nResponse Status: 400 Bad Request\n')), path=path)
        self.assertEqual(self.outbox.events, [])
        self.send(App('201 Created'), path=path)
        self.assertEqual(len(self.outbox.events), 1, 'a pipeline without slo knows no heartbeats')

    def test_an_asynchronous_deletion_is_an_event_at_once(self):
        self.send(App('204 No Content'), 'DELETE', PATH + '?multipart-manifest=delete&async=on')
        self.assertEqual(len(self.outbox.events), 1)

    def test_subscriptions_of_the_container_go_along(self):
        meta = {'function-a': 'app/one', 'function-b': 'app/two ops=delete', 'function-c': 'app/three prefix=o',
                'function-d': 'nonsense'}
        self.send(App(meta=meta))
        self.assertEqual([one['subscription'] for one in self.outbox.events],
                         [{'app': 'app', 'route': '/one'}, {'app': 'app', 'route': '/three'}])
        self.assertEqual(len({one['id'] for one in self.outbox.events}), 1)
        self.send(App(meta={'function-b': 'app/two ops=delete'}))
        self.assertNotIn('subscription', self.outbox.events[0])

    def test_triggers_are_told_also_where_the_containers_metadata_cannot_be_had(self):
        def broken(self, environ, change):
            raise RuntimeError('broken')
        real = PicassoFilter._subscriptions
        self.addCleanup(setattr, PicassoFilter, '_subscriptions', real)
        PicassoFilter._subscriptions = broken
        self.assertEqual(self.send(App()).status_int, 201)
        self.assertEqual(len(self.outbox.events), 1)

    def test_only_subscribed_containers_count_where_that_is_asked_for(self):
        only = {'only_subscribed': 'true'}
        self.send(App(), options=only)
        self.assertEqual(self.outbox.events, [])
        self.send(App(meta={'function-a': 'app/one'}), options=only)
        self.assertEqual(len(self.outbox.events), 1)
        self.send(App(), options=only, headers={'X-Function-URL': 'http://picasso:10001/r/app/x'})
        self.assertEqual(len(self.outbox.events), 1)

    def test_the_old_header_counts_for_urls_of_picasso_and_the_client_is_told(self):
        url = 'http://picasso:10001/r/app/x'
        answer = self.send(App(meta={'function-a': 'app/one', 'function-b': 'app/two'}),
                           headers={'X-Function-URL': url})
        self.assertEqual(answer.headers[URL_HEADER], 'accepted')
        self.assertEqual([one.get('function_url') for one in self.outbox.events], [url, None])
        for bad in ('http://evil/r/app/x', 'http://picasso:10001/v1/r/other/app/x'):
            answer = self.send(App(), headers={'X-Function-URL': bad})
            self.assertTrue(answer.headers[URL_HEADER].startswith('ignored: '))
            self.assertEqual(answer.status_int, 201)
            self.assertNotIn('function_url', self.outbox.events[0])

    def test_private_urls_of_ones_own_project_count(self):
        token = {'token': {'user': {'id': 'u'}, 'project': {'id': 'p'},
                           'roles': [{'id': '1', 'name': 'member'}, {'id': '2', 'name': 'reader'}, 'odd']}}
        answer = self.send(App(), headers={'X-Function-URL': 'http://picasso:10001/v1/r/p/app/x'},
                           environ={'keystone.token_info': token})
        self.assertEqual(answer.headers[URL_HEADER], 'accepted')
        self.assertEqual(self.outbox.events[0]['user_roles'], ['member', 'reader'])
        self.send(App(), environ={'keystone.token_info': token})
        self.assertNotIn('user_roles', self.outbox.events[0])

    def test_no_token_is_in_an_event(self):
        self.send(App(), headers={'X-Auth-Token': 'gAAAA-secret', 'X-Service-Token': 'gAAAA-other'},
                  environ={'keystone.token_info': {'token': {'user': {'id': 'u'}}, 'access': 'gAAAA'}})
        self.assertNotIn('gAAAA', repr(self.outbox.events))

    def test_whoever_sets_a_subscription_hears_whether_it_was_understood(self):
        for method in ('PUT', 'POST'):
            answer = self.send(App('204 No Content'), method, '/v1/AUTH_p/c',
                               {'X-Container-Meta-Function-A': 'app/one', 'X-Container-Meta-Function-B': 'x'})
            self.assertIn('a accepted; b ignored', answer.headers[META_HEADER])
        answer = self.send(App('403 Forbidden'), 'POST', '/v1/AUTH_p/c', {'X-Container-Meta-Function-A': 'a/b'})
        self.assertNotIn(META_HEADER, answer.headers)

    def test_projects_and_containers_can_be_left_out(self):
        for options in ({'skip_projects': 'q, p'}, {'skip_containers': 'x c*'}):
            self.send(App(), options=options)
            self.assertEqual(self.outbox.events, [])

    def test_a_folder_that_cannot_be_used_stops_the_start(self):
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        with self.assertRaisesRegex(Exception, 'spool_dir'):
            self.filter(App())


if __name__ == '__main__':
    unittest.main()
