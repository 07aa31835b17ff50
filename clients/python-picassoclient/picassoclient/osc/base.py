"""What all commands share: the client, and errors that people can act on."""

import argparse
from typing import Any

import requests
from keystoneauth1 import exceptions as keystone_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
from osc_lib.command import command

from picassoclient.errors import describe
from picassoclient.v1.proxy import Proxy


class _Told:
    """Turns errors of libraries into one message, and keeps the cause for `--debug`."""

    app: Any

    @property
    def functions(self) -> Proxy:
        """The service."""
        return self.app.client_manager.functions

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            return super().run(parsed_args)  # type: ignore[misc]
        except sdk_exceptions.HttpException as error:
            raise exceptions.CommandError(describe(error)) from error
        except sdk_exceptions.ServiceDisabledException as error:
            raise exceptions.CommandError(NO_SERVICE) from error
        except sdk_exceptions.SDKException as error:
            raise exceptions.CommandError(str(error)) from error
        except keystone_exceptions.EndpointNotFound as error:
            raise exceptions.CommandError(NO_SERVICE) from error
        except (keystone_exceptions.ConnectTimeout, requests.exceptions.Timeout) as error:
            raise exceptions.CommandError(
                f"The service did not answer in time; it may have done what was asked all the same ({error})"
            ) from error
        except requests.exceptions.RequestException as error:
            raise exceptions.CommandError(f"The connection to the service broke ({error})") from error


#: Said where the catalog has no endpoint.
NO_SERVICE = (
    "The cloud's catalog has no service of type functions here: look at `openstack catalog list`, and at "
    "--os-region-name and --os-interface"
)


class Command(_Told, command.Command):
    """Prints what it wants to, or nothing."""


class ShowOne(_Told, command.ShowOne):
    """Shows one thing, a line for each field."""


class Lister(_Told, command.Lister):
    """Shows a table."""


def each(items: list[str], action: Any, what: str) -> None:
    """Does `action` for all items; those that fail are told together, the others are done."""
    failed = []
    for item in items:
        try:
            action(item)
        except sdk_exceptions.HttpException as error:
            if len(items) == 1:
                raise
            failed.append(f"{item}: {describe(error)}")
    if failed:
        raise exceptions.CommandError(f"{len(failed)} of {len(items)} {what} failed:\n" + "\n".join(failed))
