"""An S3 server over HTTP, and a network in front of it that is slow, cuts and refuses.

The server is moto's, in a process of its own. It answers plain HTTP too:
`http://host:port/bucket/key` is what was put there.

    amg ----> Network, a proxy ----> moto
"""

import asyncio
import atexit
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from functools import cache
from http.client import HTTPConnection
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from s3fs import S3FileSystem

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
START_S = 60


class Store:
    """The server, through the network; and, for the tests themselves, past it."""

    def __init__(self, port, network, pid):
        self.host, self.network, self._pid = f"127.0.0.1:{port}", network, pid
        self.endpoint = f"http://127.0.0.1:{network.port}"
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://{self.host}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    @property
    def environment(self):
        """Of a process that is to find the server by S3's own variables, and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def bucket(self, name):
        """A bucket that is made if it is not there. -> its name"""
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket, key, data):
        """An object of bytes, or of a file, that plain HTTP gives too."""
        data = data.read_bytes() if isinstance(data, Path) else data
        self.client.put_object(Bucket=bucket, Key=key, Body=data, ACL="public-read")

    def get(self, bucket, key):
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, bucket, prefix=""):
        """All keys, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", ()))

    @property
    def cpu_s(self):
        """What the server has taken of the cores so far, which are ours too. Linux only."""
        after_name = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")

    def reset(self):
        """No bucket any more, and the network as it should be."""
        self.network.be_well()
        self._post("/moto-api/reset", b"")
        self._post("/moto-api/reset-auth", b"inf")

    def refuse_strangers(self):
        """From now on only keys that the server has given have rights, which are none here."""
        self._post("/moto-api/reset-auth", b"0")

    def _post(self, path, data):
        address, kind = f"http://{self.host}{path}", {"Content-Type": "text/plain"}
        with urllib.request.urlopen(urllib.request.Request(address, data, kind)) as answer:
            assert answer.status == 200


class Network:
    """An HTTP proxy in front of a server, whose faults can be set while it runs.

    latency_s: that each request takes more
    share_503: of the requests, in [0, 1], that are answered by 503 without being passed on
    share_cut: of the answers with a body that are broken off in the middle of it
    only: methods and parts of paths, such as "GET .jpg", that faults are for; all where empty
    requests: "GET /bucket/key" of each request, in order of their arrival
    most_at_once: of requests that were there at one time
    """

    def __init__(self, server_port):
        self._server_port = server_port
        self.be_well()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(START_S)

    def be_well(self):
        self.latency_s, self.share_503, self.share_cut, self.only = 0.0, 0.0, 0.0, ""
        self.requests, self.most_at_once, self._now = [], 0, 0
        self._random = random.Random(0)

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self, started):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**20)
        )
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _connection(self, reader, writer):
        """One client's requests, one after another."""
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader, writer):
        """One request and its answer. -> whether the connection is kept"""
        first, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        if headers.pop("expect", None):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, headers)
        method, path, _ = first.split(" ")
        self.requests.append(f"{method} {path}")
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self._concerns(f"{method} {path}"):
                await asyncio.sleep(self.latency_s)
            if self._falls(self.share_503, f"{method} {path}"):
                writer.write(_REFUSAL_OF_HEAD if method == "HEAD" else _REFUSAL)
                await writer.drain()
                return True
            answer = await self._passed_on(first, headers, body)
            head, _, content = answer.partition(b"\r\n\r\n")
            if method != "HEAD" and content and self._falls(self.share_cut, f"{method} {path}"):
                writer.write(head + b"\r\n\r\n" + content[: len(content) // 2])
                await writer.drain()
                return False
            writer.write(answer)
            await writer.drain()
            return True
        finally:
            self._now -= 1

    def _falls(self, share, request):
        return self._concerns(request) and self._random.random() < share

    def _concerns(self, request):
        method, _, part = self.only.partition(" ")
        return request.startswith(method) and part in request

    async def _passed_on(self, first, headers, body):
        """The server's whole answer, that says how long it is."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            ours = {"connection": "close", "content-length": str(len(body))}
            kept = {n: v for n, v in headers.items() if n != "transfer-encoding"} | ours
            writer.write(_as_head(first, kept) + body)
            answer = await reader.read()
        finally:
            writer.close()
        status, answered = _head(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        content = answer.partition(b"\r\n\r\n")[2]
        answered.pop("connection", None)
        if answered.pop("transfer-encoding", "") == "chunked":
            content = _joined(content)
            answered["content-length"] = str(len(content))
        answered.setdefault("content-length", str(len(content)))
        return _as_head(status, answered) + content


_XML = b"<?xml version='1.0'?><Error><Code>ServiceUnavailable</Code><Message>Busy</Message></Error>"
_REFUSAL_OF_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\n"
    b"content-length: %d\r\n\r\n" % len(_XML)
)
_REFUSAL = _REFUSAL_OF_HEAD + _XML


def _head(data):
    """The first line, and the headers by small names."""
    first, *lines = data.decode("latin-1").strip().split("\r\n")
    return first, {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}


def _as_head(first, headers):
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def _body(reader, headers):
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    found = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        found += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return found


def _joined(content):
    """What comes in pieces, as a whole."""
    found = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        found += content[: int(size, 16)]
        content = content[int(size, 16) + 2 :]
    return found


@contextmanager
def object_store():
    """A server of its own until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_without_proxies()
    )
    network = None
    try:
        _wait_for(port, server)
        network = Network(port)
        yield Store(port, network, server.pid)
    finally:
        if network is not None:
            network.stop()
        server.terminate()
        server.wait()


def _wait_for(port, server):
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, "moto's server did not start"
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/moto-api/")
            connection.getresponse()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("moto's server does not answer")


def _without_proxies():
    return {name: v for name, v in os.environ.items() if "proxy" not in name.lower()}


@cache
def _one_object_store():
    """One server for all tests of a process, whichever module they are in."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(object_store())


@pytest.fixture(scope="session")
def one_object_store():
    """The server, without a wish for an empty one."""
    return _one_object_store()


@pytest.fixture
def store(one_object_store, monkeypatch):
    """An empty server, which commands and this process find by the variables."""
    one_object_store.reset()
    for name, value in one_object_store.environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # of one made with other variables
    yield one_object_store
    S3FileSystem.clear_instance_cache()
