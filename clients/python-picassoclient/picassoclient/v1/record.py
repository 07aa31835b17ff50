"""What the API answers: JSON objects whose fields are attributes, too."""

from typing import Any


class Record(dict[str, Any]):
    """A resource: `app["name"]` and `app.name` are the same."""

    #: Stands for the state that was shown; a change with `if_match=app.etag` is made only of that state.
    etag: str | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no field {name!r}; there are: {', '.join(self)}") from None

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, as resources of openstacksdk give it."""
        return dict(self)
