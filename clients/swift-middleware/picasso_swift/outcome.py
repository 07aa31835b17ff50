"""Answers whose status does not say how it went.

With `heartbeat=on`, and for the deletion of a large object with its segments, Swift answers 200 or 202
at once and writes the real status into the body, when it knows it.
"""

import re

# In Swift's three formats: `Response Status: 201 Created`, `"Response Status": "201 Created"` and
# `<response_status>201 Created</response_status>`.
_STATUS = re.compile(rb'[Rr]esponse[ _][Ss]tatus\W{1,8}([1-5][0-9]{2})')
_KEPT = 64


def tells_in_body(method, params):
    """Whether the status of the answer to such a request stands in its body."""
    if method == 'DELETE':
        return params.get('multipart-manifest') == 'delete'
    return method in ('PUT', 'COPY') and params.get('heartbeat', '').lower() in (
        'true', '1', 'yes', 'on', 't', 'y')


class ToldBody:
    """Passes a body through unchanged, and calls `succeeded` just before the piece that says so."""

    def __init__(self, body, succeeded):
        self._body = body
        self._pieces = iter(body)
        self._succeeded = succeeded
        self._end = b''

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self._pieces)
        if self._succeeded is not None and piece:
            # The text may be cut between two pieces.
            found = _STATUS.search(self._end + piece)
            self._end = (self._end + piece)[-_KEPT:]
            if found:
                succeeded, self._succeeded = self._succeeded, None
                if found.group(1).startswith(b'2'):
                    succeeded()
        return piece

    def close(self):
        close = getattr(self._body, 'close', None)
        if close is not None:
            close()
