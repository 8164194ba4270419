"""
The client's certificate, from the header in which a proxy hands it on (RFC 9440), and only over a hop that is trusted.

Any client can write the header itself. So it counts when the connection comes from an address that the operator named,
whose proxy sets or drops it for every request; from anywhere else it is refused, and said so in the log.
"""

import ipaddress
import time
from collections.abc import Callable, Collection

from starlette.requests import Request

from otp_service.core.certificates import Certificate, CertificateRefused, read
from otp_service.errors import Unauthorized
from otp_service.log_sampling import SampledLines

_REFUSED = SampledLines()

HEADER = "client-cert"


class TrustedHop:
    """
    The proxies that may forward a certificate.

    Args:
        networks: Their addresses or networks.
        clock: Unix seconds.
    """

    def __init__(
        self, networks: Collection[str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        self._clock = clock

    def certificate(self, request: Request) -> Certificate | None:
        """
        Return the client's certificate, or None where the proxy hands none on: no header, or an empty one.

        Raises:
            Unauthorized: the header came from elsewhere or twice, or its certificate can't be read or is not valid now.
        """
        headers = request.headers.getlist(HEADER)
        if not headers:
            return None
        if not self._trusts(request):
            raise _refused("from_elsewhere")
        if len(headers) > 1:
            raise _refused("twice")
        if not headers[0].strip():
            return None
        try:
            return read(headers[0], now=self._clock())
        except CertificateRefused as error:
            raise _refused(error.reason) from None

    def _trusts(self, request: Request) -> bool:
        try:
            peer = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)


def _refused(why: str) -> Unauthorized:
    _REFUSED.info("caller.certificate_refused", why=why)
    return Unauthorized(presented=True)
