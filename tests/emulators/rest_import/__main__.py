"""Runs one server as a process of its own, until SIGTERM or SIGINT.

Prints its addresses as one line of JSON when it is ready:

    python -m tests.emulators.rest_import --base-dir /tmp/x [--version 2.6.24] [--delay 2]
        [--bucket-dir DIR | --s3-endpoint URL --s3-bucket NAME] [--zilliz]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading

from . import RestImportServer, S3Storage, Zilliz


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.emulators.rest_import")
    parser.add_argument("--base-dir", required=True)
    parser.add_argument("--version", default="2.6.4")
    parser.add_argument("--bucket-dir", help="a local folder as the bucket")
    parser.add_argument(
        "--s3-endpoint",
        help="an S3 server; its keys from AWS_ACCESS_KEY_ID / AWS_SECRET_ACCESS_KEY",
    )
    parser.add_argument("--s3-bucket", default="staging")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--token", default="root:Milvus")
    parser.add_argument(
        "--zilliz", action="store_true", help="a Zilliz Cloud control plane on that bucket"
    )
    args = parser.parse_args()
    storage = args.bucket_dir
    if args.s3_endpoint:
        storage = S3Storage(
            args.s3_endpoint,
            args.s3_bucket,
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
        )
    cloud = None
    if args.zilliz:
        if not isinstance(storage, S3Storage):
            parser.error("--zilliz wants --s3-endpoint")
        cloud = Zilliz(
            buckets={args.s3_bucket: storage},
            access_key=storage.access_key,
            secret_key=storage.secret_key,
        )
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with RestImportServer(
        args.base_dir, args.version, cloud, storage, delay=args.delay, token=args.token or None
    ) as server:
        print(
            json.dumps(
                {
                    "grpc": server.grpc_address,
                    "rest": server.rest_url,
                    "uri": server.uri,
                    "token": server.token,
                    "clusterId": cloud.cluster_id if cloud else None,
                }
            ),
            flush=True,
        )
        done.wait()


if __name__ == "__main__":
    main()
