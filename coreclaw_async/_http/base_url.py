"""The URL that all paths of the API are appended to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import httpx

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.errors import ConfigurationError

_NOT_IN_A_BASE = r"[\s?#]"
_NUMBER_AT_END = r"(?i)(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$"
_VERSIONED = r"(?i)/+api/+v[0-9]+$"


def parse_base_url(name: str, value: str, credentials: Credentials) -> httpx.URL:
    """Return the base URL that was given as *name*; no error shows the key, which may have been given instead."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    text = value.strip()
    try:
        url = httpx.URL(text.rstrip("/"))
        _ = url.host, urlsplit(text).port  # Stricter about brackets, ports and names.
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError(
            f"{name} must be an absolute http or https URL, not {credentials.shown(value)}"
        ) from None
    if url.userinfo:
        raise ConfigurationError(f"{name} must not hold a user name or password")
    if url.scheme not in {"http", "https"} or not url.host or re.search(_NOT_IN_A_BASE, text):
        raise ConfigurationError(
            f"{name} must be an absolute http(s) URL without query or spaces, not {credentials.shown(value)}"
        )
    if is_odd_address(url.host):
        raise ConfigurationError(
            f"{name} must have an IP address of four decimal numbers, such as 127.0.0.1, not {credentials.shown(value)}"
        )
    versioned = re.search(_VERSIONED, str(url))
    if versioned is not None:
        wanted = credentials.shown(str(url)[: versioned.start()])
        raise ConfigurationError(
            f"{name} must be the URL up to /api/v2, which is added: {wanted}, not {credentials.shown(value)}"
        )
    return url


def is_odd_address(host: str) -> bool:
    """Return whether *host* is an IPv4 address that is not written in full, such as 127.1, which aiohttp refuses."""
    if re.search(_NUMBER_AT_END, host) is None:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
