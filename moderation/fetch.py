"""Fetching what a stranger's address points to, without becoming his way into the network.

The host is resolved once, every address that it has must be a public one, and the connection goes
to the very addresses that were checked: a name that changes its answer in between (DNS rebinding)
changes nothing. Every redirect is checked in the same way. No address appears in an error.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from moderation.errors import ContentError

MAX_REDIRECTS = 3
_CHUNK = 1 << 16

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

# Translated to IPv4 on the way; the second is of a network's own choosing (RFC 6052, RFC 8215).
_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")


def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout: float,
    trusted: Collection[_Network] = (),
    context: ssl.SSLContext | None = None,
) -> tuple[bytes, str]:
    """The bytes behind an https address and their media type, in lower case and without parameters.

    Args:
        max_bytes: longer answers are refused.
        timeout: seconds for all of it: resolving, redirects and the last byte.
        trusted: networks that count as public, such as that of one's own image host.
        context: what certificates are checked against; the system's authorities by default.

    Raises:
        ContentError: the address is not a public https one, or did not answer as it should.
    """
    deadline = monotonic() + timeout
    context = context or ssl.create_default_context()
    for _ in range(MAX_REDIRECTS + 1):
        host, port, target = _split(url)
        addresses = _resolve(host, port, deadline)
        for address in addresses:
            if not _is_public(address) and not any(address in network for network in trusted):
                raise ContentError(
                    "the image's address leads into a private network, which is never fetched from"
                )
        answer = _get(host, addresses, port, target, max_bytes, deadline, context)
        if isinstance(answer, tuple):
            return answer
        url = urljoin(url, answer)
    raise ContentError(f"the image's address redirects more than {MAX_REDIRECTS} times")


def _split(url: str) -> tuple[str, int, str]:
    """Host, port and request target of an https address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ContentError("the image's address is not a usable URL") from None
    if parts.scheme.lower() != "https":
        raise ContentError("expected an https address of an image, found another scheme")
    if not host or parts.username is not None or parts.password is not None:
        raise ContentError("expected an https address with a host and without a user name")
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    if not target.isascii() or any(char <= " " or char == "\x7f" for char in target):
        raise ContentError("the image's address holds characters that have to be percent-encoded")
    return host, port or 443, target


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    found: list[_Address] = []
    fault: list[BaseException] = []

    def work() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # A link-local address may carry its interface: fe80::1%eth0.
            found.extend(ip_address(str(info[4][0]).partition("%")[0]) for info in infos)
        except (OSError, ValueError) as error:  # ValueError: a label that IDNA does not know
            fault.append(error)

    # The system's resolver cannot be given a time limit; an abandoned thread ends by itself.
    thread = threading.Thread(target=work, name="moderation-resolve", daemon=True)
    thread.start()
    thread.join(max(deadline - monotonic(), 0))
    if thread.is_alive():
        raise _late()
    if fault or not found:
        raise ContentError("the image's address names a host that cannot be found")
    return list(dict.fromkeys(found))


def _is_public(address: _Address) -> bool:
    """Whether anybody on the internet could have asked there without us."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None or address.is_site_local or address in _NAT64_LOCAL:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class _Connection(http.client.HTTPSConnection):
    """A connection to the first of some addresses, whatever the host's name resolves to by now."""

    def __init__(
        self, host: str, addresses: Sequence[_Address], port: int, context: ssl.SSLContext
    ) -> None:
        super().__init__(host, port, context=context)
        self._addresses, self._tls = addresses, context
        self._over = threading.Lock()
        self.ended = False
        self._line: socket.socket | None = None  # http.client lets go of its own before the body

    def connect(self) -> None:
        for left, address in zip(range(len(self._addresses))[::-1], self._addresses, strict=True):
            try:
                raw = socket.create_connection((str(address), self.port), self.timeout)
                break
            except OSError:
                if not left or self.ended:
                    raise
        sock = self._tls.wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = sock
        with self._over:
            self._line = sock
            if self.ended:
                raise TimeoutError
        sock.do_handshake()

    def end(self) -> None:
        """Cut the line from another thread, whatever it is waiting for."""
        with self._over:
            self.ended = True
            if self._line is not None:
                # Closed already, it has nothing to cut. SSLSocket's own would first say good-bye.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._line, socket.SHUT_RDWR)


def _get(
    host: str,
    addresses: Sequence[_Address],
    port: int,
    target: str,
    max_bytes: int,
    deadline: float,
    context: ssl.SSLContext,
) -> tuple[bytes, str] | str:
    """The body and its media type, or where a redirect leads."""
    left = deadline - monotonic()
    if left <= 0:
        raise _late()
    connection = _Connection(host, addresses, port, context)
    connection.timeout = left
    # A socket's own timeout starts anew with every byte: a server that drips would never be late.
    timer = threading.Timer(left, connection.end)
    timer.daemon = True
    timer.start()
    try:
        connection.request(
            "GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"}
        )
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            location = response.getheader("Location")
            if not location:
                raise ContentError("the image's address redirects to nowhere")
            return location
        if response.status != 200:
            raise ContentError(f"the image's address answered with status {response.status}")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise ContentError("the image's address answered with a compressed body, unasked")
        if response.length is not None and response.length > max_bytes:
            raise _too_long(max_bytes)
        body = bytearray()
        while chunk := response.read(min(_CHUNK, max_bytes + 1 - len(body))):
            body += chunk
            if len(body) > max_bytes:
                raise _too_long(max_bytes)
        if response.length and not connection.ended:  # what is missing of the announced length
            raise ContentError("the image's address stopped before the end of the image")
    except (OSError, http.client.HTTPException) as error:
        if connection.ended or isinstance(error, TimeoutError):
            raise _late() from None
        if isinstance(error, ssl.SSLCertVerificationError):
            raise ContentError("the host of the image's address has no valid certificate") from None
        raise ContentError(
            f"the image's address did not answer as it should: {type(error).__name__}"
        ) from None
    finally:
        timer.cancel()
        connection.close()
    if connection.ended:  # cut off, which looks like the end of a body without a length
        raise _late()
    media = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    return bytes(body), media


def _late() -> ContentError:
    return ContentError("the image's address did not answer in time")


def _too_long(max_bytes: int) -> ContentError:
    return ContentError(f"expected an image of at most {max_bytes:,} bytes, found more")
