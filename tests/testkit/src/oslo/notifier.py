"""Sends notifications with oslo.messaging, as services do; reads a list of them from a JSON file."""
import json
import os
import sys

import oslo_messaging
from oslo_config import cfg


class Context:
    """What a service's context gives; oslo.messaging leaves plain dictionaries out."""

    def __init__(self, values):
        self._values = values

    def redacted_copy(self):
        return self

    def to_dict(self):
        return self._values


conf = cfg.ConfigOpts()
conf([], project="notifier")
for wanted in json.load(open(sys.argv[1])):
    exchange = wanted["exchange"]
    if exchange:
        oslo_messaging.set_transport_defaults(control_exchange=exchange)
    transport = oslo_messaging.get_notification_transport(conf, url=os.environ["TRANSPORT_URL"])
    notifier = oslo_messaging.Notifier(
        transport, driver=wanted["driver"], publisher_id=wanted["publisher_id"], topics=[wanted["topic"]])
    getattr(notifier, wanted["priority"])(Context(wanted["context"]), wanted["event_type"], wanted["payload"])
    transport.cleanup()
