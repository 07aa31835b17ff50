"""Sends notifications with oslo.messaging, as services do; reads a list of them from a JSON file."""
import json
import os
import sys

import oslo_messaging
from oslo_config import cfg

conf = cfg.ConfigOpts()
conf([], project="notifier")
for wanted in json.load(open(sys.argv[1])):
    exchange = wanted["exchange"]
    if exchange:
        oslo_messaging.set_transport_defaults(control_exchange=exchange)
    transport = oslo_messaging.get_notification_transport(conf, url=os.environ["TRANSPORT_URL"])
    notifier = oslo_messaging.Notifier(
        transport, driver=wanted["driver"], publisher_id=wanted["publisher_id"], topics=[wanted["topic"]])
    getattr(notifier, wanted["priority"])(wanted["context"], wanted["event_type"], wanted["payload"])
    transport.cleanup()
