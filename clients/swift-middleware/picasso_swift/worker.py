"""The background worker of one proxy process: takes events out of the spool and sends them.

It is a thread: a green one where eventlet has patched the process, a native one elsewhere. It waits on an
event and never sleeps otherwise (Swift leaves `time` unpatched).
"""

import json
import os
import random
import re
import sys
import threading
import time

from picasso_swift.picasso import ACCEPTED, REFUSED
from picasso_swift.settings import MAX_BODY_BYTES, MAX_EVENTS
from picasso_swift.spool import HELD_SEGMENTS

# How often the folder is looked at, for its size and for files of processes that are gone, seconds.
_LOOK_EVERY = 5
_FIRST_PAUSE = 0.5
_HEAD, _TAIL = b'{"events":[', b']}'
# As the outbox writes them: when it was kept, and the event.
_LINE = re.compile(rb'\{"at":([0-9]{1,12}),"event":(\{.*\})\}\Z', re.DOTALL)


class Worker:
    """Sends what its outbox holds, until `stop`."""

    def __init__(self, outbox, picasso, settings, counters, logger):
        self._outbox, self._picasso, self._settings = outbox, picasso, settings
        self._counters, self._logger = counters, logger
        self._wake = threading.Event()
        self._stopped = False
        self._segments = []
        self._pause = 0
        # Nothing is sent before the first, nothing new is begun before the second.
        self._not_before = self._next_take = 0
        self._looked = self._synced = self._logged = 0
        self._counted = ''
        self._away_since = None

    def run(self):
        """The thread's function: whatever goes wrong is logged and tried again."""
        while not self._stopped:
            try:
                busy = self.step()
            except Exception:
                self._logger.exception('picasso: the worker failed; it goes on in a second')
                busy, self._not_before = False, time.monotonic() + 1
            if not busy:
                self._wait()

    def wake(self):
        """There is a new event. It is no reason to hurry while the worker waits for Picasso or for more
        of them, unless it is in memory only."""
        if self._wake.is_set():
            return
        if time.monotonic() >= max(self._not_before, self._next_take) or self._outbox.has_memory():
            self._wake.set()

    def stop(self):
        """Ends the thread after what it does now."""
        self._stopped = True
        self._wake.set()

    def forget(self):
        """In a child of the process: closes the files that the parent is sending."""
        for segment in self._segments:
            segment.close()
        self._segments = []

    def step(self):
        """One round: at most one batch is sent. True where there is more to do at once."""
        self._wake.clear()
        spool, now = self._outbox.spool, time.monotonic()
        self._outbox.drain()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            # `blocking` leaves the hub of eventlet to others meanwhile.
            spool.measure(blocking)
            room = HELD_SEGMENTS - len(self._segments)
            self._segments.extend(blocking(lambda: spool.orphans(room)))
        self._say()
        if now < self._not_before:
            self._sync(now)
            return False
        if not self._segments:
            # The first event after a pause goes at once; those right behind it go together, because a
            # request to Picasso costs the proxy much more than an event.
            if now < self._next_take:
                return False
            self._segments = spool.take()
            if self._segments:
                self._next_take = now + self._settings.send_interval_ms / 1000
        if not self._segments:
            return False
        return self._send(self._segments[0])

    def _wait(self):
        now = time.monotonic()
        until = now + _LOOK_EVERY
        if self._not_before > now:
            # The disk may have to take what came meanwhile.
            until = min(until, self._not_before)
            if self._settings.fsync_interval:
                until = min(until, max(now, self._synced + self._settings.fsync_interval))
        elif self._next_take > now:
            until = min(until, self._next_take)
        if self._outbox.has_memory():
            until = min(until, now + 0.5)
        # A floor, so that no mistake of the clock makes a busy loop.
        self._wake.wait(max(until - now, 0.005))

    def _send(self, segment):
        try:
            lines, end = segment.read(segment.sent, 64 * 1024)
        except OSError as error:
            # Others may be readable; this one is tried again with the files of processes that are gone.
            self._counters.add('spool.errors')
            self._logger.error('picasso: %s cannot be read: %s', segment.path, error.strerror)
            self._segments.pop(0)
            segment.close()
            return True
        events, end = self._batch(lines, segment.sent, end)
        answer = self._deliver(events) if events else None
        if answer is not None and answer.kind not in (ACCEPTED, REFUSED):
            self._away(answer)
            return False
        segment.sent = end
        if answer is not None:
            self._back()
        if segment.sent >= segment.size:
            self._segments.pop(0)
            self._outbox.spool.sent(segment)
        return True

    def _batch(self, lines, start, end):
        """The events of these lines that fit in one request, and where the next begins."""
        events, size, place = [], len(_HEAD) + len(_TAIL), start
        for line in lines:
            if len(events) == MAX_EVENTS or size + len(line) + 1 > MAX_BODY_BYTES:
                return events, place
            place = min(place + len(line) + 1, end)
            if self._usable(line):
                events.append(line)
                size += len(line) + 1
        return events, end

    def _usable(self, line):
        found = _LINE.match(line)
        try:
            json.loads(line)
        except ValueError:
            found = None
        if found is None:
            self._counters.add('dropped.torn')
            self._logger.warning('picasso: a line of the spool is no event; it was dropped')
            return False
        if time.time() - int(found.group(1)) > self._settings.spool_max_age:
            self._counters.add('dropped.age')
            return False
        return True

    def _deliver(self, lines):
        """Sends events; refused ones are looked for by halves and dropped. The answer says how the last
        request went: only `away` means that all are still to be sent."""
        answer = self._picasso.send(_HEAD + b','.join(map(_wire, lines)) + _TAIL)
        if answer.kind == ACCEPTED:
            self._counters.add('sent', len(lines))
        elif answer.kind == REFUSED and len(lines) > 1:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]):
                answer = self._deliver(half)
                if answer.kind not in (ACCEPTED, REFUSED):
                    return answer
        elif answer.kind == REFUSED:
            event = json.loads(lines[0])['event']
            self._counters.add('dropped.refused')
            self._logger.error('picasso: the event %s (%s in the container %r of %s) was refused and '
                               'dropped: %s', event.get('id'), event.get('operation'),
                               event.get('container'), event.get('account'), answer.reason)
        return answer

    def _away(self, answer):
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), self._settings.retry_max)
        # Processes that failed together do not come back together.
        pause = max(self._pause * random.uniform(0.7, 1.0), answer.retry_after or 0)
        now = time.monotonic()
        self._not_before = now + pause
        self._counters.add('send.errors')
        if self._away_since is None:
            self._away_since = now
            self._logger.warning('picasso: events are kept in %s until Picasso takes them: %s',
                                 self._settings.spool_dir, answer.reason)
        else:
            self._logger.debug('picasso: still away: %s', answer.reason)

    def _back(self):
        if self._away_since is not None:
            self._logger.warning('picasso: Picasso takes events again, after %d s',
                                 time.monotonic() - self._away_since)
        self._away_since, self._pause, self._not_before = None, 0, 0

    def _sync(self, now):
        """While Picasso is away the disk takes the events, so that the end of the machine costs little."""
        interval = self._settings.fsync_interval
        spool = self._outbox.spool
        if interval and now - self._synced >= interval:
            self._synced = now
            for segment in self._segments + spool.held():
                if segment.synced < segment.size:
                    blocking(segment.sync)
        spool.release()

    def _say(self):
        now = time.monotonic()
        if now - self._logged < self._settings.log_interval:
            return
        self._logged = now
        line = self._counters.line()
        if line != self._counted:
            self._counted = line
            self._logger.info('picasso: %s', line)


def _wire(line):
    """The event as Picasso gets it, out of a line of the spool (`{"at":…,"event":{…}}`)."""
    return _LINE.match(line).group(2)


def patched():
    """Whether eventlet has made threads green here."""
    eventlet = sys.modules.get('eventlet')
    return eventlet is not None and bool(eventlet.patcher.is_monkey_patched('thread'))


def blocking(function):
    """Calls what may wait for the disk: under eventlet in a native thread, so that the hub goes on."""
    if not patched():
        return function()
    from eventlet import tpool
    return tpool.execute(function)


def start(worker):
    """Runs the worker beside the requests, as a thread that does not keep the process alive."""
    thread = threading.Thread(target=worker.run, name='picasso-events-%d' % os.getpid(), daemon=True)
    thread.start()
    return thread
