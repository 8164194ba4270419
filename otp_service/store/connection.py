"""
The connections to Redis or Valkey: one node, Sentinel or Cluster, from one URL.

    redis://[user[:password]@]host[:port][/db]          rediss:// with TLS
    unix://[user[:password]@]/path/to/socket[?db=0]
    redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/service[/db]
    redis+cluster://[user[:password]@]host[:port][,host[:port]…]        rediss+cluster:// with TLS

Nothing is ever retried here: a script whose answer was late has run, and running it again would count twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import DriverInfo
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from otp_service.store.cluster import Cluster
from otp_service.store.node import Node, Pool
from otp_service.store.sentinel import SentinelPool, Sentinels

Client = Redis | Cluster

# All that a command can end in when Redis is away, late, in trouble or no Redis at all.
FAULTS = (
    RedisError,
    RedisClusterException,
    OSError,
    TimeoutError,
    EOFError,
    UnicodeDecodeError,
)

_TROUBLES = {
    "OOM": "is full: raise maxmemory (OOM)",
    "NOREPLICAS": "refuses writes without its replicas (NOREPLICAS)",
    "READONLY": "is a replica (READONLY)",
    "MISCONF": "can't write to its disk (MISCONF)",
    "LOADING": "is loading its data (LOADING)",
}

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """
    How long Redis may take, in seconds. Who grants a command more grants more to all that comes before and after it.

    Attributes:
        command: From sending a command to its whole answer.
    """

    command: float = 1.0

    @property
    def connect(self) -> float:
        """Until a new connection stands."""
        return self.command / 2

    @property
    def replica(self) -> float:
        """Until a replica has what was written."""
        return self.command / 20

    @property
    def disk(self) -> float:
        """Until the disk has it."""
        return self.command / 5


class Connection:
    """A connection to Redis."""

    def __init__(
        self,
        client: Client,
        timeouts: Timeouts,
        *,
        clustered: bool,
        sentinels: Sequence[Redis] = (),
        opened: Counter[str] | None = None,
    ) -> None:
        self.client = client
        self.timeouts = timeouts
        self.clustered = clustered
        self._sentinels = sentinels
        self._opened = Counter[str]() if opened is None else opened

    def opened(self, server: str) -> int:
        """
        Return how many connections to a server were opened so far: a server that goes back in time closes them first.

        Args:
            server: On Cluster the name of its node, else "".
        """
        return self._opened[server]

    def same_slot(self, a: str, b: str) -> bool:
        """Whether one script may touch both keys."""
        return not self.clustered or key_slot(a.encode()) == key_slot(b.encode())

    def by_slot(self, keys: Iterable[str]) -> list[list[str]]:
        """Return the keys in groups that one command may name together."""
        groups: list[list[str]] = []
        for key in keys:
            for group in groups:
                if self.same_slot(group[0], key):
                    group.append(key)
                    break
            else:
                groups.append([key])
        return groups

    async def aclose(self) -> None:
        """Close what is open. A server that does not answer to that is left alone: it never fails."""
        for client in (self.client, *self._sentinels):
            with suppress(*FAULTS):
                await client.aclose()
                if isinstance(client, Redis):  # redis-py leaves a pool open that it was given
                    await client.connection_pool.aclose()


class _Credentials(CredentialProvider):
    """User and password of a URL, looked up anew for each connection that is opened."""

    def __init__(self, url_now: Callable[[], str]) -> None:
        self._url_now = url_now

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            parts = urlsplit(self._url_now())
        except ValueError as error:
            raise AuthenticationError("the URL can't be read any more") from error
        password = unquote(parts.password or "")
        if parts.username:
            return unquote(parts.username), password
        return (password,) if password else ()  # type: ignore[return-value]  # and then none are sent

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def connect(
    url: str,
    *,
    name: str,
    connections: int,
    timeouts: Timeouts,
    block_seconds: float = 0,
    url_now: Callable[[], str] | None = None,
) -> Connection:
    """
    Return a connection that opens itself when first used.

    Args:
        url: See the module.
        name: What `CLIENT LIST` shows.
        connections: The most at once; beyond it a command waits as long as it may take, then it is a fault.
        timeouts: See there.
        block_seconds: How long blocking commands block; added to the command's time.
        url_now: Asked at each new connection for the URL of that time; its user and password are used, and no more.

    Raises:
        ValueError: a URL of another shape; the message holds no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the scheme must be one of {', '.join(SCHEMES)}")
    credentials = _Credentials(url_now or (lambda: url))
    clustered = parts.scheme.endswith("+cluster")
    opened = Counter[str]()

    async def open_connection(connection: Any) -> None:  # noqa: ANN401
        """What redis-py does by default; only a server that answered to it counts."""
        await connection.on_connect()
        opened[f"{connection.host}:{connection.port}" if clustered else ""] += 1

    common: dict[str, Any] = {
        "socket_timeout": timeouts.command + block_seconds,
        "socket_connect_timeout": timeouts.connect,
        "retry": Retry(NoBackoff(), 0),
        "client_name": name,
        "decode_responses": True,
        "protocol": 3,
        "credential_provider": credentials,
        "redis_connect_func": open_connection,
        "driver_info": DriverInfo(),  # once: reading the package's metadata takes over 1 ms a connection
        # With these redis-py (8.1.0) takes a connection for good that the server has closed: a call for each is lost.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if clustered:
        del common["redis_connect_func"]  # redis-py's cluster client does not take it
        hosts = [ClusterNode(host, port) for host, port in _hosts(parts.netloc, 6379)]
        cluster = Cluster(
            startup_nodes=hosts,
            ssl=parts.scheme.startswith("rediss"),
            max_connections=connections,
            **common,
        )
        cluster.split_seconds = timeouts.command
        cluster.on_open(open_connection)
        return Connection(cluster, timeouts, clustered=True, opened=opened)
    if parts.scheme == "redis+sentinel":
        service, _, db = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("redis+sentinel:// needs /service behind the hosts")
        asking = {**common, "socket_timeout": timeouts.command}
        del asking["credential_provider"], asking["redis_connect_func"]
        sentinels = Sentinels(
            _hosts(parts.netloc, 26379), seconds=timeouts.command, sentinel_kwargs=asking
        )
        options = {**common, "socket_timeout": None, "db": int(db or 0)}
        primary = SentinelPool(service, sentinels, max_connections=connections, **options)
        node = Node(primary, seconds=timeouts.command + block_seconds)
        return Connection(
            node,
            timeouts,
            clustered=False,
            sentinels=sentinels.sentinels,
            opened=opened,
        )
    user_info, at, _ = parts.netloc.rpartition("@")
    pool = Pool.from_url(
        url.replace(user_info + at, "", 1),
        max_connections=connections,
        **{**common, "socket_timeout": None},
    )
    node = Node(pool, seconds=timeouts.command + block_seconds)
    return Connection(node, timeouts, clustered=False, opened=opened)


def trouble_of(error: BaseException) -> str:
    """Return what a fault says of the server, for operators: never a part of a command or of the data."""
    cause = error.__cause__ or error
    code = getattr(cause, "status_code", None) or str(cause).partition(" ")[0]
    return _TROUBLES.get(code, "does not answer")


def _hosts(netloc: str, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, port = (
            part.rpartition(":") if ":" in part and not part.endswith("]") else (part, "", "")
        )
        hosts.append((host.strip("[]"), int(port or default_port)))
    return hosts
