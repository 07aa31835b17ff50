"""What the API answers: JSON objects whose fields are attributes, too."""

from typing import Any


class Record(dict[str, Any]):
    """A resource: `app["name"]` and `app.name` are the same."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no field {name!r}; there are: {', '.join(self)}") from None

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, as resources of openstacksdk give it."""
        return dict(self)
