"""Values of options: `KEY=VALUE`, `@FILE`, JSON; secrets that no log shows."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


class Secret(str):
    """A text that debug output does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def text(value: str) -> str:
    """The value, or with `@FILE` what is in that file, `@-` standard input; `@@` stands for one `@`."""
    if value.startswith("@@"):
        return value[1:]
    if not value.startswith("@"):
        return value
    name = value[1:]
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{name} is not text (UTF-8)") from None


def json_value(value: str) -> Any:
    """JSON, or with `@FILE` the JSON in that file."""
    try:
        return json.loads(text(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None


def json_object(value: str) -> dict[str, Any]:
    """A JSON object; one that was encoded twice, as the client of 2017 needed it, is taken as well."""
    decoded = json_value(value)
    if isinstance(decoded, str):
        decoded = json_value(decoded)
    if not isinstance(decoded, dict):
        raise argparse.ArgumentTypeError('not a JSON object; write it like \'{"KEY": "value"}\'')
    return decoded


def pair(value: str) -> tuple[str, str]:
    """`KEY=VALUE`; the value is text or `@FILE`."""
    key, equals, rest = value.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{value!r} is not KEY=VALUE")
    return key, text(rest)


def config_pairs(value: str) -> dict[str, str]:
    """`KEY=VALUE`, or a JSON object of them."""
    if value.lstrip().startswith("{"):
        decoded = json_object(value)
        return {key: item if isinstance(item, str) else json.dumps(item) for key, item in decoded.items()}
    return dict([pair(value)])


def secret_pair(value: str) -> tuple[str, Secret]:
    """`NAME=VALUE` whose value is not shown, not even in an error."""
    key, equals, rest = value.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError("write it as NAME=VALUE or NAME=@FILE")
    return key, Secret(text(rest))


def secret_file(value: str) -> tuple[str, Secret]:
    """`NAME=FILE`: what is in the file."""
    key, equals, name = value.partition("=")
    if not equals or not key or not name:
        raise argparse.ArgumentTypeError("write it as NAME=FILE")
    return key, Secret(text(f"@{name}"))


def secret_text(value: str) -> Secret:
    """A secret, or with `@FILE` what is in that file, without the newline at its end."""
    return Secret(text(value).removesuffix("\n"))


def positive(value: str) -> int:
    """A whole number from 1."""
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1")
    return int(value)


def seconds(value: str) -> float:
    """A number of seconds above 0."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e7:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds above 0")
    return number


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config`, `--secret` and `--secret-file`."""
    parser.add_argument(
        "--config",
        metavar="KEY=VALUE",
        type=config_pairs,
        action="append",
        default=[],
        help="Environment variable of the function; VALUE may be @FILE (may be repeated; a JSON object is taken, too)",
    )
    parser.add_argument(
        "--secret",
        metavar="NAME=VALUE",
        type=secret_pair,
        action="append",
        default=[],
        help="Secret environment variable; NAME=@FILE keeps the value off the command line, and "
        "NAME=barbican:UUID takes it from Barbican (may be repeated)",
    )
    parser.add_argument(
        "--secret-file",
        metavar="NAME=FILE",
        type=secret_file,
        action="append",
        default=[],
        help="Secret that the function finds in the file /run/secrets/NAME, with what is in FILE (may be repeated)",
    )


def config_fields(parsed: argparse.Namespace) -> dict[str, Any]:
    """The fields `config` and `secrets` of a request, where they were given."""
    fields: dict[str, Any] = {}
    for pairs in parsed.config:
        fields.setdefault("config", {}).update(pairs)
    secrets: dict[str, Any] = {name: str(value) for name, value in parsed.secret}
    secrets.update({name: {"value": str(value), "as": "file"} for name, value in parsed.secret_file})
    if secrets:
        fields["secrets"] = secrets
    return fields
