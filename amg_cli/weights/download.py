"""Checkpoints from the network into the cache: resumed after breaks, verified, then renamed.

Transport is the standard library's urllib (proxies and certificates as the environment says), the
lock is filelock (torch depends on it), the bar tqdm. pooch and torch.hub do not resume; parfive,
pypdl and huggingface_hub bring an HTTP stack of their own, and none of these checks Content-Range.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener, getproxies, proxy_bypass

from filelock import FileLock, Timeout
from tqdm import tqdm

from amg_cli.core.errors import ConfigError, WeightsError
from amg_cli.core.version import __version__
from amg_cli.weights.cache import (
    CHUNK_BYTES,
    REINSTALL,
    cached_path,
    human_bytes,
    is_present,
    sha256_of,
    verify,
)
from amg_cli.weights.zoo import KnownModel

TIMEOUT_S = 30.0  # for a connection, and for each piece of the body
# Pauses before trying again. All of them once bytes have come; before that, only the first few, so
# that a machine without a network is told soon.
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
WAITS_UNREACHED = 3
# Whoever gets this much further than ever before starts on a new set of tries.
PROGRESS_BYTES = 1 << 20

_RETRIED_STATUS = {408, 416, 425, 429, 500, 502, 503, 504}
# What urllib and http.client raise for networks, answers, and proxies that are no addresses.
_BROKEN = (OSError, http.client.HTTPException, ValueError, OverflowError)
_WITH_CHECKPOINT = "give it with `checkpoint`"


def pull(
    known: KnownModel, *, progress: bool, url: str | None = None, recheck: bool = False
) -> Path:
    """The model's checkpoint in the cache, downloaded if it is not there.

    progress: a bar on stderr
    url:      instead of `address(known)`
    recheck:  a file that is there is read and hashed too, and replaced if it is damaged
    Two processes that ask at once download once. Raises WeightsError, which names the address, the
    path and the remedy; what came so far is kept for the next call, unless its hash is wrong.
    """
    is_there = verify if recheck else is_present
    if is_there(known):
        return cached_path(known)
    if known.url is None or not known.can_be_checked:
        raise offline_error(known)
    job = _Job(known, url or address(known), cached_path(known))
    if not _is_address(job.url):
        raise job.error("is no http or https address")
    with _alone(job, progress):
        if not is_there(known):  # by another process, meanwhile
            _complete(job, progress)
    return job.target


def address(known: KnownModel) -> str:
    """Where `pull` gets the file: `known.url`, or `AMG_MIRROR`/filename if that variable is set.

    That of a model in the package is the file itself.
    """
    if known.url is None:
        return str(cached_path(known))
    mirror = os.environ.get("AMG_MIRROR")
    if not mirror:
        return known.url
    if not _is_address(mirror):
        remedy = "give the start of addresses, such as https://mirror.example/weights"
        raise ConfigError("AMG_MIRROR", f"{mirror} is no http or https address", remedy)
    return f"{mirror.rstrip('/')}/{known.filename}"


def offline_error(known: KnownModel) -> WeightsError:
    """What to raise where a checkpoint is missing and must not, or cannot, be downloaded."""
    if known.url is None:
        cause = "damaged, or missing from the package"
        return WeightsError(cached_path(known), cause, REINSTALL)
    if not known.can_be_checked:
        cause = "not downloaded, as what the file must be is not known from two sources"
        return WeightsError(
            cached_path(known), cause, f"get it at {known.url}, and {_WITH_CHECKPOINT}"
        )
    remedy = f"get it at {address(known)} and save it there, or {_WITH_CHECKPOINT}"
    return WeightsError(cached_path(known), "not there, and not downloaded when offline", remedy)


@dataclass(frozen=True)
class _Job:
    """One file to get: from where, to where."""

    known: KnownModel
    url: str
    target: Path

    @property
    def part(self) -> Path:
        """The beginning of the file, from this run or an earlier one."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def tag(self) -> Path:
        """The ETag that the server sent with that beginning."""
        return self.target.with_name(f"{self.target.name}.part.etag")

    def done(self) -> int:
        """Bytes that are there."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        """Forget what came so far."""
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def error(self, cause: str, first: str = "") -> WeightsError:
        """What went wrong with the address; `first` is what to try before other means."""
        other = f"get the file elsewhere and save it as {self.target}, or {_WITH_CHECKPOINT}"
        return WeightsError(self.url, cause, f"{first}, or {other}" if first else other)

    def unsaved(self, cause: str) -> WeightsError:
        """What went wrong with the disk."""
        remedy = "make room or set AMG_CACHE to another folder, or get the file elsewhere and "
        cause = f"cannot be saved as {self.target} ({cause})"
        return WeightsError(self.url, cause, remedy + _WITH_CHECKPOINT)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around whatever touches the disk, so that its errors are not taken for the network's."""
        try:
            yield
        except OSError as error:
            raise self.unsaved(error.strerror or str(error)) from error


@contextmanager
def _alone(job: _Job, progress: bool) -> Iterator[None]:
    """Hold the file's lock, waiting for whoever has it. The lock file stays: others may wait."""
    lock = FileLock(job.target.with_name(f"{job.target.name}.lock"))
    with job.saving():
        job.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if progress:
                line = f"amg: {job.known.name}: waiting for another amg that is downloading it"
                tqdm.write(line, file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _complete(job: _Job, progress: bool) -> None:
    """Get the rest of the file, check it and put it in place."""
    known = job.known
    with job.saving():
        resumed = job.done() > 0
        _check_space(job)
    bar = tqdm(
        total=known.size_bytes, desc=known.name, unit="B", unit_scale=True,
        disable=not progress, file=sys.stderr,
    )  # fmt: skip
    with bar:
        digest = _fetch(job, bar)
        if digest != known.sha256 and resumed:
            # The part of an earlier run may have been of another file: once more, from the start.
            job.discard()
            digest = _fetch(job, bar)
    with job.saving():
        if digest != known.sha256:
            job.discard()
            cause = f"has SHA-256 {digest}, not {known.sha256}; what came was deleted"
            raise job.error(cause, "run again")
        job.part.replace(job.target)
        job.tag.unlink(missing_ok=True)


def _check_space(job: _Job) -> None:
    disk = shutil.disk_usage(job.target.parent)
    needed = job.known.size_bytes - job.done()
    if disk.total and disk.free < needed:  # some network file systems report nothing
        raise job.unsaved(f"needs {human_bytes(needed)}, and {human_bytes(disk.free)} is free")


def _fetch(job: _Job, bar: tqdm[Any]) -> str:
    """Request after request until the part file has its full size. -> its SHA-256."""
    first = furthest = job.done()
    failures = 0
    while job.done() < job.known.size_bytes:
        try:
            _transfer(job, bar)
        except _BROKEN as error:
            if job.done() >= furthest + PROGRESS_BYTES:
                furthest, failures = job.done(), 0
            waits = WAITS_S if furthest > first else WAITS_S[:WAITS_UNREACHED]
            if _is_final(error) or failures == len(waits):
                raise _explained(job, error) from error
            bar.set_postfix_str(f"try {failures + 2}")
            time.sleep(waits[failures])
            failures += 1
    with job.saving():
        return sha256_of(job.part)


def _transfer(job: _Job, bar: tqdm[Any]) -> None:
    """One request for what is missing; appends all that comes to the part file."""
    offset = job.done()
    request = Request(job.url, headers={"User-Agent": f"amg/{__version__}"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if job.tag.exists():  # a file that changed meanwhile is then sent from its start
            request.add_header("If-Range", job.tag.read_text("latin-1"))
    try:
        response = build_opener().open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            job.discard()
        raise
    with response:
        start = _start_of_body(job, response, offset)
        bar.n = start
        bar.refresh()
        with _opened(job, start, response.headers.get("ETag", "")) as file:
            for chunk in _body(response, job.known.size_bytes - start):
                with job.saving():
                    file.write(chunk)
                    file.flush()
                bar.update(len(chunk))
            with job.saving():
                os.fsync(file.fileno())


def _start_of_body(job: _Job, response: http.client.HTTPResponse, offset: int) -> int:
    """The byte of the file that the answer begins with: `offset`, or 0 if the server sends all."""
    if response.status == http.client.OK:
        start, length = 0, response.length
    elif response.status == http.client.PARTIAL_CONTENT:
        stated = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated.strip())
        if not match or int(match[1]) != offset:
            job.discard()
            raise ConnectionError(f"asked for bytes from {offset}, it sends {stated or 'others'}")
        start, length = offset, None if match[2] == "*" else int(match[2])
    else:
        raise job.error(f"answers HTTP {response.status} {response.reason}")
    if length not in (None, job.known.size_bytes):
        cause = f"has {length} bytes, not {job.known.size_bytes}"
        raise job.error(f"{cause}: it is another file, or a login page")
    return start


@contextmanager
def _opened(job: _Job, start: int, etag: str) -> Iterator[BinaryIO]:
    """The part file to append to; from its beginning, the server's tag is kept beside it."""
    with job.saving():
        if not start:
            job.discard()
            if etag.startswith('"'):  # If-Range takes no weak tags (RFC 9110, 13.1.5)
                job.tag.write_text(etag, "latin-1")
        file = job.part.open("ab")
    with file:
        yield file


def _body(response: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """The next `size` bytes, as they come. What follows them is nobody's: the hash decides."""
    while size:
        # read1 gives what is there; read would lose what came before a time-out.
        chunk = response.read1(min(size, CHUNK_BYTES))
        if not chunk:
            raise ConnectionError("the server closed the connection")
        size -= len(chunk)
        yield chunk


def _is_final(error: Exception) -> bool:
    """Whether trying again is of no use."""
    if isinstance(error, HTTPError):
        return error.code not in _RETRIED_STATUS
    return isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def _explained(job: _Job, error: Exception) -> WeightsError:
    """The one line for a request that failed for good."""
    if isinstance(error, HTTPError):
        first = "try later" if error.code in _RETRIED_STATUS else ""
        return job.error(f"answers HTTP {error.code} {' '.join(str(error.reason).split())}", first)
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    if isinstance(reason, ssl.SSLCertVerificationError):
        first = "set SSL_CERT_FILE to the certificates of your network"
        return job.error(f"has a certificate that cannot be verified ({text})", first)
    proxy = _proxy_host(job.url)
    through = f" through the proxy {proxy}" if proxy else ""
    done, size = job.done(), job.known.size_bytes
    if done:
        cause = f"stopped at {done} of {size} bytes{through} ({text})"
        return job.error(cause, "run again to go on from there")
    return job.error(f"cannot be reached{through} ({text})", "check the network and the proxy")


def _proxy_host(url: str) -> str:
    """Host and port of the proxy that requests go through, without its password; or nothing."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc):
        return ""
    return proxy.rpartition("@")[2].rpartition("//")[2].rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = text.isascii() and text.isprintable() and " " not in text
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no port, or no IPv6 host, for all its brackets
        return False
    return bool(plain and whole)
