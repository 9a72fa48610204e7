"""Route: through which proxy a host is reached, and which certificates are trusted there."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from coreclaw_async._extras import load_library
from coreclaw_async._http.base_url import is_odd_address
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from coreclaw_async._http.single_connection import SingleConnection

Verify: TypeAlias = bool | ssl.SSLContext | str | os.PathLike[str]
"""Which certificates are trusted: the usual ones (True), any (False), those of a context, a file or a folder."""

_PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return the TLS context of the process, since making one takes longer than a call."""
    return httpx.create_ssl_context()


@functools.cache
def _no_tls_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ProxyChoice:
    """
    Which proxy is used for an address.

    Attributes:
        name: What the environment calls it, such as ``https_proxy``; None when it names none, or the caller gave one.
        url: The proxy; None when the address is reached without it. May hold a password.
    """

    def __init__(self, name: str | None = None, url: httpx.URL | None = None) -> None:
        self.name = name
        self.url = url

    @property
    def shown(self) -> str:
        """The proxy, as errors name it."""
        if self.name is None:
            return "the proxy given as proxy"
        return f"the proxy that the environment names in {self.name}"


def choose_proxy(url: httpx.URL) -> ProxyChoice:
    """
    Return the proxy that the environment names for *url*; a proxy elsewhere could not reach a loopback address.

    Raises:
        ConfigurationError: It is no URL that httpx can use.
    """
    proxies = getproxies()
    name = url.scheme if proxies.get(url.scheme) else "all"
    proxy = proxies.get(name)
    if proxy is None:
        return ProxyChoice()
    name = f"{name}_proxy"
    if _is_loopback(url.host) or proxy_bypass(url.host):
        return ProxyChoice(name)
    found = _usable_proxy(proxy if "://" in proxy else f"http://{proxy}")
    if found is None:
        del proxy, proxies  # The bad URL would stand in a traceback.
        raise ConfigurationError(f"the proxy that the environment names in {name} is no URL that httpx can use")
    return ProxyChoice(name, found)


def _usable_proxy(text: str) -> httpx.URL | None:
    """Return the URL of a proxy; None where a backend cannot use it, or its host is not what was meant."""
    try:
        url = httpx.URL(text)
        httpx.Proxy(url)
        _ = urlsplit(text).port  # httpx takes any number.
        host = url.host  # Some that are no names are found out when they are asked for.
    except (httpx.InvalidURL, ValueError):
        return None
    # An unescaped sign in a password may still give a URL, but with the user as its host.
    is_usable = bool(host) and not is_odd_address(host) and not url.query and not url.fragment and "@" not in url.path
    return url if is_usable else None


def _given_proxy(proxy: str) -> httpx.URL:
    """Return the URL of the proxy that the caller gave; no error shows it, as it may hold a password."""
    if not isinstance(proxy, str):
        kind = type(proxy).__name__
        del proxy
        raise TypeError(f"proxy must be a str, not {kind}")
    text = proxy.strip()
    found = None if re.search(r"\s", text) else _usable_proxy(text)
    if found is None or found.scheme not in _PROXY_SCHEMES or found.path not in {"", "/"}:
        del proxy, text, found
        raise ConfigurationError(
            "proxy must be a URL such as http://user:password@host:8080, of the scheme http, https, socks5 or socks5h, "
            "without path and query, and with IP addresses in full; signs such as / ? # @ : in its user or password "
            "are written as %2F and so on"
        )
    return found


def _given_context(verify: Verify, credentials: Credentials) -> ssl.SSLContext:
    """Return the TLS context that a caller's ``verify`` means."""
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify)
    if isinstance(verify, ssl.SSLContext):
        if verify.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ValueError("verify must be an ssl.SSLContext for clients, not one for servers")
        return verify
    path: Any = os.fspath(verify) if isinstance(verify, str | os.PathLike) else None  # type: ignore[redundant-expr]
    if not isinstance(path, str):
        raise TypeError(
            "verify must be a bool, an ssl.SSLContext, or the path of a file or folder with certificates, "
            f"not {type(verify).__name__}"
        )
    try:
        is_folder = bool(path) and Path(path).is_dir()  # An empty path would be the folder of the process.
        if not is_folder and not Path(path).is_file():
            raise FileNotFoundError(2, "there is no such file or folder")
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
    except OSError as error:  # Also what ssl raises about a file without certificates.
        why = error.strerror or type(error).__name__
    raise ConfigurationError(f"verify={credentials.shown(path)}: no certificates can be read there: {why}")


class Route:
    """
    How a client reaches hosts, that of the API and storage hosts alike.

    Attributes:
        proxy: The proxy for all of them, which the caller gave; None for that of the environment. May hold a password.
        context: Which certificates are trusted, as the caller said; None for the usual ones.
    """

    def __init__(self, proxy: httpx.URL | None = None, context: ssl.SSLContext | None = None) -> None:
        self.proxy = proxy
        self.context = context

    @classmethod
    def of(cls, proxy: str | None, verify: Verify, credentials: Credentials) -> Self:
        """
        Return the route that a caller's arguments mean; no error shows the key, which may have been given instead.

        Raises:
            ConfigurationError: They cannot be right.
            ValueError: *verify* is a TLS context for servers.
            TypeError: One of them is of the wrong type.
        """
        try:
            url = None if proxy is None else _given_proxy(proxy)
        finally:
            proxy = None  # A traceback with local variables would show its password.
        if url is not None and url.scheme.startswith("socks"):
            _load_socks("the SOCKS proxy given as proxy")
        return cls(url, None if verify is True else _given_context(verify, credentials))

    def proxy_to(self, url: httpx.URL) -> ProxyChoice:
        """
        Return the proxy for *url*.

        Raises:
            ConfigurationError: The environment names one that httpx cannot use.
        """
        return choose_proxy(url) if self.proxy is None else ProxyChoice(url=self.proxy)

    def context_for(self, url: httpx.URL) -> ssl.SSLContext:
        """Return the TLS context for *url*."""
        if url.scheme != "https":
            return _no_tls_context()
        return _tls_context() if self.context is None else self.context

    def transport_to(self, url: httpx.URL) -> SingleConnection:
        """
        Return a new connection to the host of *url*.

        Raises:
            ConfigurationError: The environment names a proxy that httpx cannot use.
        """
        from coreclaw_async._http.single_connection import SingleConnection  # It imports httpcore, which takes a while.

        choice = self.proxy_to(url)
        if choice.url is not None and choice.url.scheme.startswith("socks"):
            _load_socks(f"the SOCKS {choice.shown.removeprefix('the ')}")
        proxy = None if choice.url is None else self._as_httpx_takes_it(choice.url)
        return SingleConnection(url, self.context_for(url), proxy)

    def _as_httpx_takes_it(self, proxy: httpx.URL) -> httpx.Proxy:
        # The usual certificates are httpcore's own, for a proxy.
        return httpx.Proxy(proxy, ssl_context=self.context if proxy.scheme == "https" else None)


def _load_socks(need: str) -> None:
    load_library("socksio", need=need, requirement="httpx[socks]")
