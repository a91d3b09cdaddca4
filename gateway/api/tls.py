"""TLS of our own listener, and which client certificate a connection has proved.

Owns: the server's context and the fingerprint of the peer. Must not know parties. A client certificate is
asked for, not demanded: whether a caller needs one is decided with its API key. One that doesn't chain to the
client authorities ends the handshake.
"""

import hashlib
import ssl

from aiohttp import web

from gateway.config import Settings
from gateway.errors import ConfigurationError


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The context that the settings describe: TLS 1.2 or later. None where none is set.

    Raises:
        ConfigurationError: a file can't be read, or the key is not the certificate's.
    """
    if settings.tls_certificate_path is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate_path, settings.tls_key_path)
        if settings.tls_client_ca_path is not None:
            context.load_verify_locations(settings.tls_client_ca_path)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the TLS files can't be used: {error}") from None
    return context


def peer_fingerprint(request: web.Request) -> bytes | None:
    """SHA-256 of the client certificate whose key this connection proved; None without one."""
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    der = connection.getpeercert(binary_form=True)
    return None if der is None else hashlib.sha256(der).digest()
