"""Makes a small picture of each picture that is uploaded, and puts it into another container.

One JSON document a call on stdin, one on stdout. The call's body is what Swift told of the upload; the
picture itself is read, and the small one written, with the identity that the route was granted.
"""

import io
import json
import sys

import openstack
from PIL import Image

SIZE = (64, 64)


def thumbnail(event, target):
    # Anew for each call: the token of an identity is renewed now and then.
    swift = openstack.connect().object_store
    picture = Image.open(io.BytesIO(swift.download_object(event["object"], container=event["container"])))
    was = picture.size
    picture.thumbnail(SIZE)
    small = io.BytesIO()
    picture.save(small, "PNG")
    name = event["object"].rsplit(".", 1)[0] + ".png"
    swift.upload_object(target, name, data=small.getvalue(), content_type="image/png")
    return {"made": f"{target}/{name}", "was": was, "is": picture.size}


for line in sys.stdin:
    call = json.loads(line)
    made = thumbnail(json.loads(call["body"]), call["config"]["target"])
    print(f"{made['made']}: {made['was']} became {made['is']}", file=sys.stderr, flush=True)
    print(json.dumps({"body": made}), flush=True)
