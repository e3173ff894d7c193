"""Free loopback ports that stay free while a server is down for a while."""
import random
import socket

from tests.support import settings

# Below the range that the kernel hands to outgoing connections, and one slice per parallel worker, so that
# nobody sits on a port when its server comes back.
_SLICE = 2500
_FIRST = 12000 + _SLICE * (settings.WORKER % 8)
_given = set()


def free_port():
    """A port that nobody listens on and that this process has not given out before."""
    for _ in range(1000):
        port = _FIRST + random.randrange(_SLICE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free loopback port")


def listening(port):
    """True when a connection to the port is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
