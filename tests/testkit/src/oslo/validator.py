"""Builds pycadf's objects from events and prints what is not valid."""
import json
import sys

from pycadf import cadftype, credential, endpoint, event, host, reason, reporterstep, resource


def resource_of(told):
    made = resource.Resource(id=told["id"], typeURI=told.get("typeURI", "unknown"), name=told.get("name"))
    if "host" in told:
        made.host = host.Host(**told["host"])
    if "credential" in told:
        made.credential = credential.Credential(told["credential"]["token"])
    for address in told.get("addresses", []):
        made.add_address(endpoint.Endpoint(**address))
    return made


for told in json.load(open(sys.argv[1])):
    try:
        made = event.Event(
            eventType=told["eventType"], id=told["id"], eventTime=told["eventTime"],
            action=told["action"], outcome=told["outcome"],
            initiator=resource_of(told["initiator"]), target=resource_of(told["target"]),
            observer=resource.Resource(id=told["observer"]["id"]),
            reason=reason.Reason(**told["reason"]) if "reason" in told else None)
        for tag in told["tags"]:
            made.add_tag(tag)
        for step in told.get("reporterchain", []):
            made.add_reporterstep(reporterstep.Reporterstep(
                role=step["role"], reporterTime=step["reporterTime"],
                reporter=resource.Resource(id=step["reporter"]["id"])))
        valid = made.is_valid() and cadftype.is_valid_eventType(told["eventType"])
        fault = None if valid and made.typeURI == told["typeURI"] else "is_valid() says no"
    except Exception as error:
        fault = repr(error)
    if fault:
        print(fault, json.dumps(told))
