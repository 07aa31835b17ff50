"""Prints each notification that oslo.messaging hands to a listener's endpoint."""
import json
import os

import oslo_messaging
from oslo_config import cfg
from oslo_messaging import server


class Endpoint:
    def _tell(self, priority, ctxt, publisher_id, event_type, payload, metadata):
        heard = dict(priority=priority, context=ctxt, publisher_id=publisher_id,
                     event_type=event_type, payload=payload, metadata=metadata)
        print("HEARD " + json.dumps(heard), flush=True)

    def info(self, *told):
        self._tell("info", *told)

    def error(self, *told):
        self._tell("error", *told)


conf = cfg.ConfigOpts()
conf([], project="listener")
# One thread, so that what came first is told first and no two lines mix.
conf.register_opts(server._pool_opts)
conf.set_override("executor_thread_pool_size", 1)
if "AUTHORITY" in os.environ:
    from oslo_messaging._drivers import impl_rabbit
    conf.register_opts(impl_rabbit.rabbit_opts, group="oslo_messaging_rabbit")
    conf.set_override("ssl", True, group="oslo_messaging_rabbit")
    conf.set_override("ssl_ca_file", os.environ["AUTHORITY"], group="oslo_messaging_rabbit")
transport = oslo_messaging.get_notification_transport(conf, url=os.environ["TRANSPORT_URL"])
target = oslo_messaging.Target(topic="notifications", exchange=os.environ["EXCHANGE"])
listener = oslo_messaging.get_notification_listener(
    transport, [target], [Endpoint()], executor="threading")
listener.start()
print("LISTENING", flush=True)
listener.wait()
