"""One real Swift in one process: proxy with the S3 face, account, container and object server.

usage: serve_swift.py FOLDER PORT [AUTH_URL]

Rings of one replica and one device, a plain folder. With AUTH_URL (Keystone), tokens are validated by
keystonemiddleware as the user in SWIFT_USER, SWIFT_PASSWORD and SWIFT_PROJECT. The S3 face has one key,
test:tester / testing, which tempauth checks: signatures of version 4.

SWIFT_HOST is the address to listen on (127.0.0.1). SWIFT_FILTER puts a filter of that name into the
pipeline behind authentication; SWIFT_FILTER_FILE holds its section.
"""

import os
import sys

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.swob import Request  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

folder, port = os.path.abspath(sys.argv[1]), int(sys.argv[2])
auth_url = sys.argv[3] if len(sys.argv) > 3 else None
etc = os.path.join(folder, 'etc')
os.makedirs(os.path.join(folder, 'node', 'disk'), exist_ok=True)
os.makedirs(etc, exist_ok=True)


def write(name, text):
    path = os.path.join(etc, name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    os.chmod(path, 0o600)
    return path


write('swift.conf', '[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n'
      '[storage-policy:0]\nname = gold\ndefault = yes\n')
import swift.common.utils as utils  # noqa: E402
os.environ['SWIFT_TEST_IN_PROCESS'] = '1'
utils.SWIFT_CONF_FILE = os.path.join(etc, 'swift.conf')
import swift.common.storage_policy as policies  # noqa: E402
policies.reload_storage_policies()
utils.validate_hash_conf()

# Each backend listens on a port of its own, on loopback.
sockets = {kind: eventlet.listen(('127.0.0.1', 0)) for kind in ('account', 'container', 'object')}
for kind, socket in sockets.items():
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'weight': 1, 'ip': '127.0.0.1',
                     'port': socket.getsockname()[1], 'device': 'disk'})
    builder.rebalance()
    builder.get_ring().save(os.path.join(etc, kind + '.ring.gz'))

backend = '''[DEFAULT]
swift_dir = {etc}
devices = {folder}/node
mount_check = false
log_address = /nonexistent
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
'''
keystone = '''[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
auth_type = password
auth_url = {auth_url}
www_authenticate_uri = {auth_url}
username = {user}
password = {password}
project_name = {project}
user_domain_name = Default
project_domain_name = Default
delay_auth_decision = True
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member, service
'''
proxy = '''[DEFAULT]
swift_dir = {etc}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging listing_formats bulk tempurl s3api {auth} tempauth {filter} copy slo dlo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
reseller_prefix = TEMP
user_test_tester = testing .admin
{keystone}
''' + ''.join(
    '[filter:%s]\nuse = egg:swift#%s\n' % (name, egg) for name, egg in [
        ('catch_errors', 'catch_errors'), ('gatekeeper', 'gatekeeper'), ('healthcheck', 'healthcheck'),
        ('listing_formats', 'listing_formats'), ('proxy-logging', 'proxy_logging'), ('bulk', 'bulk'), ('tempurl', 'tempurl'),
        ('s3api', 's3api'), ('copy', 'copy'), ('slo', 'slo'),
        ('dlo', 'dlo')])

pool = eventlet.GreenPool(1000)
quiet = open(os.devnull, 'w', encoding='utf-8')
for kind, socket in sockets.items():
    conf = write(kind + '.conf', backend.format(etc=etc, folder=folder, kind=kind))
    pool.spawn_n(wsgi.server, socket, loadapp(conf), quiet)
text = keystone.format(auth_url=auth_url, user=os.environ.get('SWIFT_USER', ''),
                       password=os.environ.get('SWIFT_PASSWORD', ''),
                       project=os.environ.get('SWIFT_PROJECT', '')) if auth_url else ''
if 'SWIFT_FILTER_FILE' in os.environ:
    with open(os.environ['SWIFT_FILTER_FILE'], encoding='utf-8') as file:
        text += file.read()
conf = write('proxy.conf', proxy.format(etc=etc, auth='authtoken keystoneauth' if auth_url else '', keystone=text,
                                        filter=os.environ.get('SWIFT_FILTER', '')))
app = loadapp(conf)
# The bucket of the S3 face: a container of its key's account.
made = Request.blank('/v1/TEMP_test/outputs', environ={
    'REQUEST_METHOD': 'PUT', 'swift.authorize_override': True}).get_response(app)
if made.status_int not in (201, 202):
    sys.exit('the bucket was not made: ' + made.status)
wsgi.server(eventlet.listen((os.environ.get('SWIFT_HOST', '127.0.0.1'), port)), app, quiet)
