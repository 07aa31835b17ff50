"""The options of the filter's section, read and checked once, when the proxy starts."""

import re
from urllib.parse import urlsplit

# What Picasso takes in one request (POST /v1/object-events).
MAX_EVENTS = 100
MAX_BODY_BYTES = 112 * 1024

_TRUE = frozenset(('true', '1', 'yes', 'on', 't', 'y'))
_FALSE = frozenset(('false', '0', 'no', 'off', 'f', 'n', ''))

# Options of keystoneauth's plugins that may stand in the section; the plugin says which it takes.
_SESSION = ('cafile', 'certfile', 'keyfile')


class SettingsError(ValueError):
    """An option that cannot work; the text names it and what it must be."""


class Settings:
    """What the section says. Its attributes are the options' names; README.md describes them."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def __repr__(self):
        # Passwords are among the values.
        return '<Settings of %s>' % self.endpoint

    @classmethod
    def from_conf(cls, conf):
        """Reads a section, as paste.deploy hands it over: text by name."""
        read = _Reader(conf)
        endpoint = read.url('endpoint', None)
        return cls(
            endpoint=endpoint,
            function_url_endpoints=[
                _checked_url('function_url_endpoints', url)
                for url in read.words('function_url_endpoints')] or [endpoint],
            only_subscribed=read.flag('only_subscribed', False),
            reseller_prefixes=_prefixes(conf.get('reseller_prefix', 'AUTH')),
            skip_projects=frozenset(read.words('skip_projects')),
            skip_containers=read.words('skip_containers'),
            spool_dir=read.path('spool_dir', '/var/spool/picasso-swift'),
            spool_max_bytes=read.number('spool_max_bytes', 64 << 20, 1 << 20, 1 << 40),
            spool_max_age=read.number('spool_max_age', 86400, 60, 30 * 86400),
            spool_write=read.one_of('spool_write', ('before_answer', 'background')),
            spool_slow_ms=read.number('spool_slow_ms', 50, 1, 60000),
            fsync_interval=read.number('fsync_interval', 1, 0, 3600),
            memory_max_events=read.number('memory_max_events', 10000, 1, 1000000),
            send_interval_ms=read.number('send_interval_ms', 100, 0, 60000),
            timeout=read.number('timeout', 10, 1, 300),
            retry_max=read.number('retry_max', 60, 1, 3600),
            log_interval=read.number('log_interval', 60, 1, 86400),
            auth=_auth_options(conf),
            session={name: conf[name] for name in _SESSION if conf.get(name)},
            insecure=read.flag('insecure', False),
        )


class _Reader:
    """Options of one section by their kind."""

    def __init__(self, conf):
        self.conf = conf

    def words(self, name):
        return [word for word in re.split(r'[\s,]+', self.conf.get(name, '')) if word]

    def flag(self, name, default):
        text = str(self.conf.get(name, default)).strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise SettingsError('%s must be true or false, not %r' % (name, text))

    def number(self, name, default, least, most):
        text = str(self.conf.get(name, default)).strip()
        try:
            value = int(text)
        except ValueError:
            raise SettingsError('%s must be a whole number, not %r' % (name, text)) from None
        if not least <= value <= most:
            raise SettingsError('%s must be from %d to %d, not %d' % (name, least, most, value))
        return value

    def one_of(self, name, choices):
        text = self.conf.get(name, choices[0]).strip()
        if text not in choices:
            raise SettingsError('%s must be one of %s, not %r' % (name, ', '.join(choices), text))
        return text

    def path(self, name, default):
        text = self.conf.get(name, default).strip()
        if not text.startswith('/'):
            raise SettingsError('%s must be an absolute path, not %r' % (name, text))
        return text

    def url(self, name, default):
        text = self.conf.get(name, default)
        if not text:
            raise SettingsError('%s is missing: the URL of Picasso, such as http://127.0.0.1:10001' % name)
        return _checked_url(name, text)


def _checked_url(name, text):
    text = text.strip().rstrip('/')
    try:
        url = urlsplit(text)
        valid = url.scheme in ('http', 'https') and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
    if not valid or url.username is not None or url.query or url.fragment:
        # The text is not repeated: it may hold a password.
        raise SettingsError('%s must be a URL such as https://host:10001, without user, "?" or "#"' % name)
    return text


def _prefixes(text):
    """`AUTH, SERVICE` as the beginnings of account names; '' stands for accounts without a prefix."""
    words = [word.strip().strip("'\"") for word in text.split(',')]
    return [word if not word or word.endswith('_') else word + '_' for word in words]


def _auth_options(conf):
    """What a plugin of keystoneauth may need, with the password out of its file."""
    options = {'auth_type': conf.get('auth_type', 'password').strip()}
    path = conf.get('password_file')
    if path and conf.get('password'):
        raise SettingsError('password and password_file are both there; one of them must go')
    if path:
        try:
            with open(path, encoding='utf-8') as file:
                options['password'] = file.read(4096).strip()
        except OSError as error:
            raise SettingsError('password_file cannot be read: %s' % error) from None
    for name in ('auth_url', 'username', 'user_id', 'password', 'project_name', 'project_id',
                 'user_domain_name', 'user_domain_id', 'project_domain_name', 'project_domain_id',
                 'default_domain_id', 'default_domain_name', 'system_scope',
                 'application_credential_id', 'application_credential_name',
                 'application_credential_secret'):
        if conf.get(name):
            options[name] = conf[name]
    if options['auth_type'] in ('password', 'v3password'):
        for side in ('user', 'project'):
            if not any(options.get('%s_domain_%s' % (side, kind)) for kind in ('id', 'name')):
                options['%s_domain_id' % side] = 'default'
        for name in ('auth_url', 'password'):
            if not options.get(name):
                raise SettingsError('%s is missing: the filter proves to Picasso who it is' % name)
        if not (options.get('username') or options.get('user_id')):
            raise SettingsError('username is missing: the filter proves to Picasso who it is')
    return options
