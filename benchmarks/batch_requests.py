"""Requests to an object store for each picture, counted at moto's S3 server on this machine.

    python benchmarks/batch_requests.py [--count 64] [--engines local ray]

A first run makes all pictures, a second one finds them made. Pictures are 8 x 8 pixels, the network is stubbed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import threading
from collections import Counter


def serve(seen: list[str]) -> int:
    """Start the server; every request adds its kind. Returns the port."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    plain = DomainDispatcherApplication(create_backend_app)

    def app(environment: dict[str, str], start: object) -> object:
        path, query = environment["PATH_INFO"], environment["QUERY_STRING"]
        listing = "list-type" in query or "prefix" in query
        seen.append("LIST" if listing else f"{environment['REQUEST_METHOD']}{' .undim' if '.undim' in path else ''}")
        return plain(environment, start)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--engines", nargs="+", default=["local"])
    given = parser.parse_args()
    seen: list[str] = []
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{serve(seen)}",
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import io

    import numpy as np
    import s3fs
    from PIL import Image

    from undim.batch.drive import Batch, run_batch
    from undim.jobs.options import EnhanceOptions

    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.mkdir("bucket")
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "png")
    for number in range(given.count):
        system.pipe_file(f"bucket/in/{number:06d}.png", stream.getvalue())
    found = {}
    for engine in given.engines:
        options = EnhanceOptions(model="tiny", threads=1, strength=0.0)
        for turn in ("first", "again"):
            seen.clear()
            run_batch(Batch("s3://bucket/in", f"s3://bucket/{engine}", options, engine=engine, workers=1))
            found[f"{engine}, {turn}"] = dict(sorted(Counter(seen).items()))
    print(json.dumps({"pictures": given.count, "requests": found}, indent=1))


if __name__ == "__main__":
    main()
