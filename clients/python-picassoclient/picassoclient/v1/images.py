"""Images of the project, and those that the operator shares."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from picassoclient.v1._base import Base
from picassoclient.v1.paths import segment
from picassoclient.v1.record import Record

#: Seconds that unpacking an image may take once it is sent.
UPLOAD_TIMEOUT = (10, 900)


class Images(Base):
    """`/v1/{project}/images`."""

    def images(self, limit: int | None = None, **query: Any) -> Iterator[Record]:
        """The project's images and the shared ones."""
        return self.pages(self.url("images"), "images", query, limit)

    def upload_image(self, name: str, archive: BinaryIO) -> Record:
        """Loads a tar (an OCI layout, or the output of `docker save`) under a name like `hello:1`."""
        url = self._image_url(name)
        headers = {"Content-Type": "application/x-tar"}
        # The file is sent as it is read; a stale token would be noticed only at its end.
        self.get_token()
        return self.one("PUT", url, "image", data=archive, headers=headers, timeout=UPLOAD_TIMEOUT)

    def delete_image(self, name: str) -> None:
        """Forgets a name; versions that use the image keep it."""
        self.send("DELETE", self._image_url(name))

    def _image_url(self, name: str) -> str:
        return self.url("images", *(segment("image", part) for part in name.split("/")))
