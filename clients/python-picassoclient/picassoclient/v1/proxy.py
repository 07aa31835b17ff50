"""`conn.functions`: all of the API as methods, in the manner of openstacksdk."""

from picassoclient.v1.calls import Calls
from picassoclient.v1.identity import Identities
from picassoclient.v1.images import Images
from picassoclient.v1.limits import Limits
from picassoclient.v1.triggers import Triggers


class Proxy(Identities, Images, Calls, Limits, Triggers):
    """The service of type `functions`, version 1. Lists are iterators, resources are dictionaries."""
