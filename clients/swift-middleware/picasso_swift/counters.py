"""What the filter counts: to statsd where Swift is configured for it, and into one log line."""

import os
import threading


class Counters:
    """Counts by name, such as `queued`, `sent` or `dropped.full`."""

    def __init__(self, statsd=None):
        self._statsd = statsd
        self._lock = threading.Lock()
        self._counts = {}
        os.register_at_fork(after_in_child=self._forked)

    def add(self, name, count=1):
        """Adds to a count; nothing that goes wrong here reaches the caller."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + count
        if self._statsd is not None:
            try:
                self._statsd.update_stats('picasso.' + name, count)
            except Exception:  # a count is never worth a request
                pass

    def _forked(self):
        # A thread that the child does not have may have held the lock.
        self._lock, self._counts = threading.Lock(), {}

    def get(self, name):
        """How often so far, in this process."""
        with self._lock:
            return self._counts.get(name, 0)

    def line(self):
        """All of them in one line, `name=count` in order."""
        with self._lock:
            return ' '.join('%s=%d' % item for item in sorted(self._counts.items()))


def statsd_client(conf, logger):
    """Swift's client for statsd: a module of its own in new releases, methods of the logger in old ones."""
    try:
        from swift.common.statsd_client import get_statsd_client
    except ImportError:
        return logger if hasattr(logger, 'update_stats') else None
    return get_statsd_client(conf, tail_prefix='', logger=logger)
