#!/usr/bin/env python3
"""Publishes an event as Ceilometer does, for Aodh's listener.

usage: TRANSPORT_URL=rabbit://… publish_event.py PROJECT_ID EVENT_TYPE NAME=VALUE...
"""

import datetime
import os
import sys
import uuid

import oslo_messaging
from oslo_config import cfg

project_id, event_type, *traits = sys.argv[1:]
traits = [["project_id", 1, project_id]] + [[name, 1, value] for name, value in (t.split("=", 1) for t in traits)]
event = {
    "message_id": str(uuid.uuid4()),
    "event_type": event_type,
    "generated": datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat(),
    "traits": traits,
    "raw": {},
    "message_signature": "",
}
conf = cfg.ConfigOpts()
conf([], project="publisher")
transport = oslo_messaging.get_notification_transport(conf, url=os.environ["TRANSPORT_URL"])
notifier = oslo_messaging.Notifier(
    transport, driver="messagingv2", publisher_id="telemetry.publisher.tests", topics=["alarm.all"]
)
notifier.sample({}, "event", [event])
