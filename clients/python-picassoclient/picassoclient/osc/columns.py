"""Which columns a table has, and how their cells read; JSON output has the values as they are."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cliff import columns
from osc_lib.cli import format_columns


class Json(columns.FormattableColumn):
    """A nested value; people see it as compact JSON."""

    def human_readable(self) -> str:
        return json.dumps(self._value, sort_keys=True, ensure_ascii=False)


class Shares(columns.FormattableColumn):
    """Versions of an alias with their weights."""

    def human_readable(self) -> str:
        total = sum(share["weight"] for share in self._value) or 1
        return ", ".join(f"{share['version']} ({100 * share['weight'] / total:g} %)" for share in self._value)


class Size(columns.FormattableColumn):
    """Bytes."""

    def human_readable(self) -> str:
        size = float(self._value)
        for unit in ("B", "KiB", "MiB", "GiB"):
            if size < 1024 or unit == "GiB":
                return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
            size /= 1024
        raise AssertionError


class Time(columns.FormattableColumn):
    """A time, to the second."""

    def human_readable(self) -> str:
        return "" if self._value is None else self._value.split(".")[0].removesuffix("Z") + "Z"


def cell(value: Any) -> Any:
    """A value as a cell."""
    if isinstance(value, dict):
        simple = all(isinstance(item, str | int | float | bool) or item is None for item in value.values())
        return format_columns.DictColumn(value) if simple else Json(value)
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return format_columns.ListColumn(value)
        return Json(value)
    return value


def shown(resource: Mapping[str, Any], hidden: Iterable[str] = ("links", "message")) -> tuple[list[str], list[Any]]:
    """All fields of a resource, for a `show` command."""
    hidden = set(hidden)
    names = [name for name in resource if name not in hidden]
    return names, [cell(resource[name]) for name in names]


def table(
    resources: Iterable[Mapping[str, Any]], fields: Mapping[str, str | tuple[str, type]]
) -> tuple[list[str], list[list[Any]]]:
    """A table: for each column its title and the field it shows, or the field and how."""
    rows = []
    for resource in resources:
        row = []
        for field in fields.values():
            name, kind = field if isinstance(field, tuple) else (field, None)
            value = resource.get(name)
            row.append(kind(value) if kind and value is not None else cell(value))
        rows.append(row)
    return list(fields), rows
