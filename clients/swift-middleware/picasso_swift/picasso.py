"""Sends batches of events to Picasso, as a user of its own with the role `service`.

keystoneauth gets the token, keeps it, and gets another where Picasso does not take it. It is imported by
the first batch, not with the proxy.
"""

import json

_MAX_ANSWER_BYTES = 256 * 1024
# The batch is at fault; anything else is a matter of settings, rights or time, and gets another try.
_AT_FAULT = frozenset((400, 409, 413, 422))

ACCEPTED, REFUSED, AWAY = 'accepted', 'refused', 'away'


class Answer:
    """What became of a batch: accepted, refused as it is, or to be sent again."""

    __slots__ = ('kind', 'reason', 'retry_after')

    def __init__(self, kind, reason='', retry_after=None):
        self.kind, self.reason, self.retry_after = kind, reason, retry_after


class Picasso:
    """The service, over one keystoneauth session."""

    def __init__(self, settings):
        self._settings = settings
        self._session = None

    def send(self, body):
        """Sends `{"events": […]}`; an Answer, whatever happens."""
        try:
            session = self._session or self._connect()
            # Never the session's own log: it would hold the events.
            answer = session.request(
                self._settings.endpoint + '/v1/object-events', 'POST', data=body, raise_exc=False,
                redirect=False, log=False, stream=True, authenticated=True,
                headers={'Content-Type': 'application/json', 'Accept': 'application/json'})
        except Exception as error:
            return Answer(AWAY, _named(error))
        try:
            return self._judge(answer)
        except Exception as error:
            return Answer(AWAY, _named(error))
        finally:
            answer.close()

    def _judge(self, answer):
        text = _bounded(answer)
        status = answer.status_code
        if status in (200, 202):
            # A proxy that answers for a Picasso that is away must not make events disappear.
            try:
                if isinstance(json.loads(text).get('accepted'), int):
                    return Answer(ACCEPTED)
            except (ValueError, AttributeError):
                pass
            return Answer(AWAY, 'the answer is not Picasso\'s: %d without "accepted"' % status)
        reason = '%d %s' % (status, _message(text))
        if status in _AT_FAULT:
            return Answer(REFUSED, reason)
        if status in (401, 403):
            reason += ' (has the user of the filter the role that Picasso asks for?)'
        return Answer(AWAY, reason, _seconds(answer.headers.get('Retry-After')))

    def _connect(self):
        from keystoneauth1 import loading, session

        settings = self._settings
        options = dict(settings.auth)
        loader = loading.get_plugin_loader(options.pop('auth_type'))
        known = {option.dest for option in loader.get_options()}
        auth = loader.load_from_options(**{name: value for name, value in options.items() if name in known})
        verify = False if settings.insecure else settings.session.get('cafile', True)
        cert = settings.session.get('certfile')
        if cert and settings.session.get('keyfile'):
            cert = (cert, settings.session['keyfile'])
        self._session = session.Session(auth=auth, verify=verify, cert=cert, timeout=settings.timeout,
                                        user_agent='picasso-swift')
        return self._session


def _bounded(answer):
    text = b''
    for piece in answer.iter_content(16384):
        text += piece
        if len(text) > _MAX_ANSWER_BYTES:
            break
    return text[:_MAX_ANSWER_BYTES]


def _message(text):
    try:
        message = json.loads(text)['error']['message']
    except (ValueError, KeyError, TypeError):
        return ''
    return message[:300] if isinstance(message, str) else ''


def _seconds(text):
    return min(int(text), 3600) if text and text.isdigit() else None


def _named(error):
    """Errors of requests hold URLs and never bodies or headers; the first line is enough."""
    return '%s: %s' % (type(error).__name__, (str(error).splitlines() or [''])[0][:300])
