"""What several tests need: settings of a filter in a folder, a Picasso that keeps what it got."""

import json
import logging
import threading
import time

from picasso_swift.picasso import ACCEPTED, Answer
from picasso_swift.settings import Settings

QUIET = logging.getLogger('picasso-tests')
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def settings(folder, **options):
    """Settings with a spool in this folder."""
    conf = {'endpoint': 'http://127.0.0.1:1', 'auth_url': 'http://127.0.0.1:1/v3', 'username': 'swift',
            'password': 'not-a-secret', 'project_name': 'service', 'spool_dir': folder}
    conf.update({name: str(value) for name, value in options.items()})
    return Settings.from_conf(conf)


def wait_until(what, condition, seconds=60):
    """Waits for a condition, with a deadline."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError('waited in vain for: ' + what)
        threading.Event().wait(0.005)


class Memory:
    """A Picasso that keeps the events it took; `judge` says what becomes of a batch."""

    def __init__(self, judge=None):
        self.events, self.batches = [], []
        self.judge = judge or (lambda events: Answer(ACCEPTED))

    def send(self, body):
        events = json.loads(body)['events']
        answer = self.judge(events)
        if answer.kind == ACCEPTED:
            self.batches.append(body)
            self.events.extend(events)
        return answer

    def ids(self):
        return [event['id'] for event in self.events]
