"""Whole processes: patched by eventlet as Swift's proxy is, and with native threads."""

import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from tests.support import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


class Capture:
    """A Picasso on loopback that keeps what it took; `away` makes it answer 503."""

    def __init__(self, port=0):
        self.objects, self.ids, self.away = [], [], False
        capture = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def do_POST(self):
                events = json.loads(self.rfile.read(int(self.headers['Content-Length'])))['events']
                if not capture.away:
                    capture.objects.extend(event['object'] for event in events)
                    capture.ids.extend(event['id'] for event in events)
                body = b'{}' if capture.away else b'{"accepted":%d}' % len(events)
                self.send_response(503 if capture.away else 202)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
        # Processes are killed while they send.
        self.server.handle_error = lambda *args: None
        self.url = 'http://127.0.0.1:%d' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Processes(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = os.path.join(made.name, 'spool')

    def capture(self):
        made = Capture()
        self.addCleanup(made.stop)
        return made

    def start(self, mode, url, count, name='n'):
        command = [sys.executable, '-W', 'ignore', os.path.join(HERE, 'proxy_process.py'), mode, self.folder,
                   url, str(count), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                   env=dict(os.environ, PYTHONPATH=os.path.dirname(HERE)))
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        process.kill()
        process.wait()
        process.stdout.close()

    def answered(self, process):
        self.assertEqual(process.stdout.readline(), 'answered\n')

    def left(self):
        return sum(os.stat(os.path.join(self.folder, name)).st_size for name in os.listdir(self.folder))

    def test_processes_of_both_kinds_share_a_spool_and_send_each_event_once(self):
        capture = self.capture()
        started = [self.start(mode, capture.url, 300, mode + str(number))
                   for mode in ('eventlet', 'native') for number in range(2)]
        for process in started:
            self.answered(process)
        wait_until('all events', lambda: len(capture.objects) >= 1200)
        wait_until('an empty spool', lambda: self.left() == 0)
        self.assertEqual((len(set(capture.objects)), len(capture.ids)), (1200, 1200))

    def test_requests_go_on_while_picasso_hangs_and_no_event_is_lost_by_sigkill(self):
        for mode in ('eventlet', 'native'):
            # Takes connections and never answers.
            hanging = socket.create_server(('127.0.0.1', 0))
            self.addCleanup(hanging.close)
            killed = self.start(mode, 'http://127.0.0.1:%d' % hanging.getsockname()[1], 200, 'before')
            self.answered(killed)
            killed.kill()
            killed.wait()
            capture = self.capture()
            after = self.start(mode, capture.url, 1, 'after')
            self.answered(after)
            wait_until('all events', lambda: len(set(capture.objects)) == 201)
            # Else it takes up the files of the next one that is killed.
            self.end(after)

    def test_an_outage_ends_and_everything_arrives(self):
        for mode in ('eventlet', 'native'):
            capture = self.capture()
            capture.away = True
            self.answered(self.start(mode, capture.url, 100, mode))
            self.assertGreater(self.left(), 0)
            capture.away = False
            wait_until('all events', lambda: len(set(capture.objects)) == 100)

    def test_a_process_that_lives_takes_up_the_events_of_one_that_was_killed(self):
        capture = self.capture()
        closed = socket.create_server(('127.0.0.1', 0))
        refused = 'http://127.0.0.1:%d' % closed.getsockname()[1]
        closed.close()
        dying = self.start('eventlet', refused, 50, 'dying')
        self.answered(dying)
        self.answered(self.start('eventlet', capture.url, 1, 'living'))
        dying.kill()
        dying.wait()
        wait_until('its events', lambda: len(set(capture.objects)) == 51)


if __name__ == '__main__':
    unittest.main()
