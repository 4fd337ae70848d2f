"""Addresses, such as `s3://bucket/photos/a.jpg`, and what lies there, by fsspec.

What opens an address comes with the extra `cloud`, and is loaded when the first address is used.
Endpoints, profiles and credentials are those that fsspec and each service's own library find: in
`FSSPEC_S3_…` and fsspec's files, in `AWS_…`, `GOOGLE_…`, `AZURE_…`, `HF_…` and theirs. Of an
address that has credentials in itself, what is shown, recorded and compared is `without_secrets`.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from amg_cli.core.errors import AmgError, InputError

EXTRA = "pip install 'amg-cli[cloud]'"
TRIES = 2  # of one request, each of several that a service's own library makes
TRIES_OF_HTTP = 5  # where the library makes one
FIRST_WAIT_S = 0.25  # before the second; twice as long before each further one

CONNECTIONS = 64  # of one process to one service
_S3 = ("s3", "s3a")
# Held as long as the process lives. One that a forked process lets go of closes connections by an
# epoll that is its parent's too, who then waits for answers that it is not told of.
_OPENED: dict[int, Any] = {}

# Two characters at least: `C://` is a drive of Windows.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]+://"
_URL = re.compile(_SCHEME)
_URL_IN_TEXT = re.compile(_SCHEME + r"[^\s'\"<>]+")
_USER = re.compile(rf"({_SCHEME})([^/@?#]*)@")
# Where `user@` is a part of the address: Azure's container of an account.
_NAMED_BY_USER = ("abfs", "abfss", "wasb", "wasbs")
# Of signed addresses: Amazon's, Google's, Azure's, CloudFront's; and what other services take.
_SECRET = re.compile(
    r"x-(amz|goog|ms)-.*|.*(sig|signature|token|secret|passw|pwd|credential|auth|apikey|api[-_]key"
    r"|access[-_]?key|session|jwt|hmac).*|key|expires|policy|key-pair-id|googleaccessid",
    re.IGNORECASE,
)
_AZURE_SIGNED = frozenset(
    (
        *("sv", "ss", "srt", "sp", "se", "st", "spr", "sr", "si", "sip"),
        *("skoid", "sktid", "skt", "ske", "sks", "skv"),
    )
)

# Errors that are no OSError, by the modules that have them: only those that are loaded can come.
_ERRORS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "aiohttp": ("ClientError",),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "azure.core.exceptions": ("AzureError",),
    "huggingface_hub.errors": ("HfHubHTTPError", "HFValidationError"),
    "httpx": ("HTTPError",),
    "httpx2": ("HTTPError",),
    "zipfile": ("BadZipFile",),
    "asyncio": ("TimeoutError",),
}
_TALKATIVE = (
    *("adlfs", "aiobotocore", "aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs"),
    *("google", "httpx", "httpx2", "huggingface_hub", "s3fs", "urllib3"),
)
_NO_CREDENTIALS = re.compile(
    r"NoCredentials|PartialCredentials|DefaultCredentials|ProfileNotFound|TokenRetrieval|SSOToken"
    r"|UnauthorizedSSO|Unable to locate credentials|Must provide either a connection_string"
    r"|LocalTokenNotFound|[Aa]nonymous caller",
)
_NO_BUCKET = re.compile(
    r"NoSuchBucket|bucket does not exist|ContainerNotFound|RepositoryNotFound|RevisionNotFound"
    r"|[Tt]he specified container does not exist"
)
_UNREACHABLE = re.compile(
    r"EndpointConnectionError|\bConnectError|ClientConnectorError|ConnectTimeout|ClientConnectorDNSError"
    r"|Could not connect|Cannot connect|Name or service not known"
)
_BROKEN_OFF = re.compile(
    r"IncompleteRead|ClientPayload|ServerDisconnected|ConnectionReset|ConnectionClosed|Response"
    r"StreamingError|ReadTimeout|TimeoutError|ContentLengthError|HTTPClientError|BrokenPipe"
    r"|RemoteProtocolError|ReadError"
)

Value = TypeVar("Value")


class Cause(NamedTuple):
    """Why something could not be read or written, and what the user can do.

    passes: whether the next try may go well
    """

    cause: str
    remedy: str = "check the address"
    passes: bool = False


def is_url(text: object) -> bool:
    """Whether a text is an address; not a path, nor a drive of Windows."""
    return isinstance(text, str) and _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """What an address begins with, such as `s3`, in small letters."""
    return url.partition("://")[0].lower()


def without_secrets(text: str) -> str:
    """An address, or a text with addresses, without passwords, tokens and signatures in them."""
    return _URL_IN_TEXT.sub(lambda found: _clean(found[0]), text)


def file_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec for an address, and the path of what it names there.

    One a process and account; it keeps no listings, so that it sees what changes.
    Raises InputError where what it needs is not installed, or it is no address of any.
    """
    try:
        import fsspec
    except ImportError as error:
        raise _not_installed(url) from error
    for name in _TALKATIVE:  # what they log may name signed addresses, and is said in our lines
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with errors_of(url):
        try:
            options = _more_connections(fsspec.config.conf) if scheme_of(url) in _S3 else {}
            fs, path = retried(  # a zip is read here
                url, lambda: fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
            )
        except ImportError as error:
            raise _not_installed(url) from error
        except ValueError as error:
            if "Protocol not known" not in str(error):
                raise
            cause = f"{scheme_of(url)}:// is no kind of address that is known"
            raise InputError(without_secrets(url), cause, "check the address") from error
    _OPENED[id(fs)] = fs
    return fs, path


@contextmanager
def errors_of(url: str, kind: type[AmgError] = InputError) -> Iterator[None]:
    """Inside, what fsspec and the services' libraries raise becomes one line, without secrets."""
    try:
        yield
    except _error_classes() as error:
        if isinstance(error, AmgError):
            raise
        cause = cause_of(error)
        raise kind(without_secrets(url), cause.cause, cause.remedy) from error


def retried(url: str, call: Callable[[], Value]) -> Value:
    """What a call gives that asks for an address; made again where what it raised may pass.

    Raises the last error.
    """
    tries = TRIES_OF_HTTP if scheme_of(url) in ("http", "https") else TRIES
    for number in range(1, tries):
        try:
            return call()
        except _error_classes() as error:
            if isinstance(error, AmgError) or not cause_of(error).passes:
                raise
        time.sleep(FIRST_WAIT_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))
    return call()


def cause_of(error: BaseException) -> Cause:
    """Why, by what a library has raised."""
    text = _names(error)
    status = _status_of(error)
    if _NO_CREDENTIALS.search(text):
        return Cause("no credentials for it are found", "log in, or set the service's variables")
    if _NO_BUCKET.search(text):
        return Cause("no such bucket, container or repository")
    if status in (401, 403) or isinstance(error, PermissionError):
        return Cause("access is denied", "check the credentials and their rights")
    if status in (404, 410) or isinstance(error, FileNotFoundError):
        return Cause("no such object", "it may have been moved since")
    if status == 429 or status >= 500:
        return Cause(f"the server answers {status}", "try again later", passes=True)
    if _UNREACHABLE.search(text):
        return Cause("the server cannot be reached", "check the address and the network")
    if _BROKEN_OFF.search(text):
        return Cause("the connection broke off, again and again", "try again later", passes=True)
    if "BadZipFile" in text:
        return Cause("damaged or truncated zip", "make or download it again")
    said = without_secrets(str(error).partition("\n")[0]) or type(error).__name__
    return Cause(f"cannot use it: {said[:200]}")


def path_in(url: str) -> str:
    """What comes after the scheme, as a path: `bucket/photos/a.jpg`; of an archive, what is inside
    it.
    """
    path = url.partition("://")[2]
    if scheme_of(url) in ("http", "https"):
        path = unquote(path.partition("#")[0].partition("?")[0])
    return _USER.sub(r"\1", f"any://{path.partition('::')[0]}")[len("any://") :]


def _more_connections(conf: Mapping[str, Any]) -> dict[str, Any]:
    """S3's library has ten, so that with 200 ms a request fifty could be done in a second."""
    own = conf.get("s3", {}).get("config_kwargs", {})
    return {"config_kwargs": {"max_pool_connections": CONNECTIONS, **own}}


def _clean(url: str) -> str:
    """One address without its secrets; each part of a chained one."""
    return "::".join(_clean_part(part) for part in url.split("::"))


def _clean_part(url: str) -> str:
    user = _USER.match(url)
    if user and not (scheme_of(url) in _NAMED_BY_USER and ":" not in user[2]):
        url = user[1] + url[user.end() :]
    address, mark, rest = url.partition("?")
    query, hash_mark, fragment = rest.partition("#")
    names = {part.partition("=")[0].lower() for part in query.split("&")}
    secret = _AZURE_SIGNED if "sig" in names else frozenset()
    kept = [
        part
        for part in query.split("&")
        if not _SECRET.fullmatch(unquote(name := part.partition("=")[0]))
        and name.lower() not in secret
    ]
    return address + (mark if any(kept) else "") + "&".join(kept) + hash_mark + fragment


def _not_installed(url: str) -> InputError:
    needs = f"addresses of {scheme_of(url)}:// need a library that is not installed"
    return InputError(without_secrets(url), needs, EXTRA)


def _error_classes() -> tuple[type[BaseException], ...]:
    """What can be raised by what is loaded. Not all there is: a bug of ours is to be seen."""
    found: list[type[BaseException]] = [OSError, ValueError, RuntimeError, EOFError]
    for module, names in _ERRORS.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__


def _names(error: BaseException) -> str:
    """Of an error and what it came of: the classes, codes and messages, to search in."""
    parts = []
    for each in _causes(error):
        response = getattr(each, "response", None)
        code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
        parts.append(f"{' '.join(kind.__name__ for kind in type(each).__mro__)} {code} {each}")
    return "\n".join(parts)


def _status_of(error: BaseException) -> int:
    """The HTTP status that an error came of; 0 where there is none."""
    for each in _causes(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = (
                getattr(each, "status", None)
                or getattr(each, "status_code", None)
                or getattr(response, "status_code", None)
                or getattr(each, "code", None)
            )
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return 0
