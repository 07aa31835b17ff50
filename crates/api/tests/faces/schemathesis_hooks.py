"""What Schemathesis sends as an image: bytes that are none, and real archives of files that are none."""

import io
import tarfile

import schemathesis
from hypothesis import strategies as st


def archive(files):
    """A tar of these files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


names = st.sampled_from(["oci-layout", "index.json", "manifest.json", "blobs/sha256/00", "../escape", "/etc/passwd"])
contents = st.binary(max_size=64) | st.sampled_from([b"{}", b"[]", b"null", b'{"imageLayoutVersion":"1.0.0"}'])
archives = st.dictionaries(names, contents, max_size=4).map(archive)
schemathesis.openapi.media_type("application/x-tar", st.binary(max_size=4096) | archives)
