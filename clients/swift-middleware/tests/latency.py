"""How much later a client gets its answer because of the filter.

usage: latency.py URL_WITH URL_WITHOUT TOKEN_FILE [ROUNDS [REQUESTS]]

The URLs are of one container, over a port with the filter and over one without it, of the same Swift.
Blocks of PUTs of 1 KiB alternate, so that what the machine does besides falls on both; a block with the
filter also bears what its worker does meanwhile. Prints percentiles in milliseconds.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

body = b'x' * 1024
with open(sys.argv[3], encoding='utf-8') as file:
    token = file.read().strip()
urls = {'with': urlsplit(sys.argv[1]), 'without': urlsplit(sys.argv[2])}
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 10
requests = int(sys.argv[5]) if len(sys.argv) > 5 else 200
lines = {name: http.client.HTTPConnection(url.hostname, url.port) for name, url in urls.items()}
took = {name: [] for name in urls}


def put(name, number):
    began = time.perf_counter()
    lines[name].request('PUT', '%s/o%d' % (urls[name].path, number % 50), body, {'X-Auth-Token': token})
    answer = lines[name].getresponse()
    answer.read()
    if answer.status != 201:
        sys.exit('%s: %d' % (name, answer.status))
    return (time.perf_counter() - began) * 1000


for warm in range(50):
    for name in urls:
        put(name, warm)
for block in range(rounds):
    for name in (('with', 'without') if block % 2 else ('without', 'with')):
        took[name].extend(put(name, number) for number in range(requests))
        time.sleep(0.3)
for name, times in took.items():
    times.sort()
    print('%-8s n=%d  p50 %.2f  p90 %.2f  p99 %.2f  max %.2f' % (
        name, len(times), times[len(times) // 2], times[len(times) * 9 // 10], times[len(times) * 99 // 100],
        times[-1]))
