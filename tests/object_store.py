"""An S3 server on a socket of this machine, and its objects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server() -> Iterator[str]:
    """`host:port` of a server without a bucket; the environment of this process has credentials for it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # the buckets of a process outlive its servers
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"), timeout=10).close()
    with patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}):
        yield f"{host}:{port}"
    server.stop()


def put(bucket: str, objects: dict[str, bytes], *, acl: str = "private") -> None:
    """Fill a new bucket; with the ACL `public-read` for processes without credentials."""
    client: Any = _client()
    client.create_bucket(Bucket=bucket)
    for key, data in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=data, ACL=acl)


def _client() -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
