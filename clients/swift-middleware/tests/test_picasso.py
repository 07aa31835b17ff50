"""The HTTP side, against servers on loopback that do what is hard to have a real one do."""

import contextlib
import http.server
import json
import threading
import unittest

from picasso_swift.picasso import ACCEPTED, AWAY, REFUSED, Picasso
from tests.support import settings

BODY = b'{"events":[{"id":"1"}]}'


class Servers:
    """A Keystone that gives out numbered tokens, and a Picasso that answers by a script."""

    def __init__(self):
        self.tokens, self.seen, self.script = 0, [], []
        servers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def answer(self, status, body, **headers):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace('_', '-'), value)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    # Who has read enough may leave.
                    self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                if self.path == '/v3/auth/tokens':
                    servers.tokens += 1
                    self.answer(201, {'token': {
                        'methods': ['password'], 'user': {'id': 'u', 'name': 'swift', 'domain': {'id': 'd'}},
                        'issued_at': '2020-01-01T00:00:00.000000Z',
                        'expires_at': '2100-01-01T00:00:00.000000Z'}},
                        X_Subject_Token='token-%d' % servers.tokens)
                else:
                    servers.seen.append((self.path, self.headers['X-Auth-Token'], body))
                    self.answer(*servers.script.pop(0)[:2], **(servers.last_headers or {}))

        self.last_headers = None
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        # Who has read enough of an answer leaves.
        self.server.handle_error = lambda *args: None
        self.url = 'http://127.0.0.1:%d' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class PicassoClient(unittest.TestCase):
    def setUp(self):
        self.servers = Servers()
        self.addCleanup(self.servers.stop)
        self.picasso = Picasso(settings('/tmp', endpoint=self.servers.url, auth_type='v3password',
                                        auth_url=self.servers.url + '/v3', timeout=5))

    def send(self, *script, **headers):
        self.servers.script = list(script)
        self.servers.last_headers = headers
        return self.picasso.send(BODY)

    def test_a_batch_goes_out_with_a_token_of_our_own(self):
        answer = self.send((202, {'accepted': 1}))
        self.assertEqual(answer.kind, ACCEPTED)
        self.assertEqual(self.servers.seen, [('/v1/object-events', 'token-1', BODY)])

    def test_a_token_is_used_again_and_renewed_when_it_is_refused(self):
        self.send((202, {'accepted': 1}))
        self.assertEqual(self.send((202, {'accepted': 1})).kind, ACCEPTED)
        self.assertEqual(self.servers.tokens, 1)
        self.assertEqual(self.send((401, {}), (202, {'accepted': 1})).kind, ACCEPTED)
        self.assertEqual(self.servers.tokens, 2)
        self.assertEqual(self.servers.seen[-1][1], 'token-2')

    def test_only_what_the_batch_is_to_blame_for_is_refused(self):
        for status in (400, 409, 413, 422):
            answer = self.send((status, {'error': {'message': 'events[0].container is too long'}}))
            self.assertEqual(answer.kind, REFUSED)
            self.assertIn('events[0].container', answer.reason)
        for status in (301, 403, 404, 405, 408, 429, 500, 502, 503):
            self.assertEqual(self.send((status, {})).kind, AWAY, status)

    def test_an_answer_that_is_not_picassos_takes_no_events(self):
        for body in (b'<html>Welcome to the portal</html>', b'', b'[]', b'{}', b'{"accepted":"all"}',
                     b'x' * 10_000_000):
            self.assertEqual(self.send((200, body)).kind, AWAY)

    def test_a_pause_that_picasso_asks_for_is_kept_up_to_an_hour(self):
        self.assertEqual(self.send((429, {}), Retry_After='7').retry_after, 7)
        self.assertEqual(self.send((503, {}), Retry_After='999999').retry_after, 3600)
        self.assertIsNone(self.send((503, {}), Retry_After='tomorrow').retry_after)

    def test_when_nobody_listens_the_reason_holds_no_secret(self):
        self.servers.stop()
        answer = self.picasso.send(BODY)
        self.assertEqual(answer.kind, AWAY)
        self.assertNotIn('not-a-secret', answer.reason)


if __name__ == '__main__':
    unittest.main()
