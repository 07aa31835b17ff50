"""What a function answered, byte for byte on standard output."""

import sys
from collections.abc import Iterable
from typing import BinaryIO

import requests
from osc_lib import exceptions


def write(chunks: Iterable[bytes], target: BinaryIO | None = None) -> None:
    """Writes bytes as they come; a terminal gets a newline where the last one is missing."""
    out = target or sys.stdout.buffer
    last = b"\n"
    for chunk in chunks:
        if chunk:
            out.write(chunk)
            out.flush()
            last = chunk[-1:]
    if target is None and last != b"\n" and sys.stdout.isatty():
        out.write(b"\n")
        out.flush()


def body_of(answer: requests.Response) -> Iterable[bytes]:
    """The pieces of an answer, as they come."""
    return answer.iter_content(chunk_size=None) if answer.raw is not None else [answer.content]


def save(answer: requests.Response, name: str | None) -> None:
    """Writes an answer to a file, or to standard output."""
    if name is None:
        write(body_of(answer))
        return
    try:
        with open(name, "wb") as file:
            write(body_of(answer), file)
    except OSError as error:
        raise exceptions.CommandError(f"Cannot write {name}: {error.strerror}") from error


def note(text: str) -> None:
    """Something for the person at the terminal that is not the command's output."""
    sys.stderr.write(f"{text}\n")
