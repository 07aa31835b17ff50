"""Client of Picasso, Functions as a Service for OpenStack: the library's way in."""

from importlib import metadata

from picassoclient.sdk import FunctionsService, connect, register

__all__ = ["FunctionsService", "connect", "register"]

__version__ = metadata.version("python-picassoclient")
