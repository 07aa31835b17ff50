"""What openstackclient asks of a plug-in: `openstack function …` and the old `openstack fn …`."""

import argparse
from typing import Any

from osc_lib import utils

from picassoclient.sdk import register

DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_functions_api_version"
API_NAME = "functions"
API_VERSIONS = ("1",)


def make_client(instance: Any) -> Any:
    """The proxy of openstacksdk, with the login of this command line."""
    conn = instance.sdk_connection
    register(conn)
    return conn.functions


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Global options of this service."""
    parser.add_argument(
        "--os-functions-api-version",
        metavar="<functions-api-version>",
        default=utils.env("OS_FUNCTIONS_API_VERSION"),
        help=f"Functions API version, default={DEFAULT_API_VERSION} (Env: OS_FUNCTIONS_API_VERSION)",
    )
    parser.add_argument(
        "--os-functions-url",
        metavar="<functions-url>",
        default=utils.env("OS_FUNCTIONS_URL"),
        help="Where function URLs begin, default: what the service says (Env: OS_FUNCTIONS_URL)",
    )
    return parser


def check_api_version(version: str) -> bool:
    """Whether there are commands for this version; `1.1` is asked for by the library itself."""
    return version.split(".", maxsplit=1)[0] == DEFAULT_API_VERSION
