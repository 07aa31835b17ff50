"""One process with the filter around an app that only says yes, and requests to it.

usage: proxy_process.py eventlet|native SPOOL ENDPOINT COUNT NAME

Prints `answered` when all requests have their answers, then goes on sending events until it is ended.
`eventlet` patches the process as Swift's own proxy does.
"""

import sys
import threading

mode, folder, endpoint, count, name = sys.argv[1:]
if mode == 'eventlet':
    from swift.common.utils import monkey_patch
    monkey_patch()

import picasso_swift  # noqa: E402


def app(environ, start_response):
    start_response('201 Created', [('Content-Length', '0')])
    return [b'']


proxy = picasso_swift.filter_factory({}, endpoint=endpoint, auth_type='none', spool_dir=folder,
                                     retry_max='1')(app)


def request(number):
    answers = []
    environ = {'REQUEST_METHOD': 'PUT', 'SCRIPT_NAME': '', 'PATH_INFO': '/v1/AUTH_p/c/%s-%d' % (name, number),
               'QUERY_STRING': '', 'swift.infocache': {'container/AUTH_p/c': {'meta': {}}}}
    b''.join(proxy(environ, lambda status, headers, exc_info=None: answers.append(status)))
    if answers != ['201 Created']:
        sys.exit('an answer is missing')


if mode == 'eventlet':
    import eventlet
    pool = eventlet.GreenPool(50)
    for one in range(int(count)):
        pool.spawn_n(request, one)
    pool.waitall()
else:
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(int(count))))
print('answered', flush=True)
threading.Event().wait()
