"""The settings: what may be set, within which bounds, and why each default has its value."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streams.publish.redis_urls import Deployment, check_redis_url, parse_redis_url

CHECKPOINT_BYTES_MAX = 900 * 1024
"""A flush is one record (exactness rule 3); a larger one would not fit the changelog's 1 MiB."""

FETCH_WAIT_MAX_MS = 500
"""For a partition without events the broker answers only this often, and as_of waits for the answer.
So it must be well below the methodology's out_of_order_ms."""

FETCH_BYTES_MAX = 16 * 1024 * 1024
"""Kafka's numbers end at 2^31 - 1, and a worker holds several answers at once: 4 MiB gained nothing."""

REQUEST_TIMEOUT_MIN_MS = 35_000
"""A join is answered when the rebalance ends, after up to 30 s (`AppSettings.rebalance_timeout_s`)."""
REQUEST_TIMEOUT_MAX_MS = 300_000
"""A recovery that takes longer ends the worker (`WatchdogSettings.recovery_ms`)."""
SESSION_TIMEOUT_MIN_MS = 6_000
"""Brokers refuse a shorter session unless their group.min.session.timeout.ms says otherwise."""

_TOPIC = r"^[a-zA-Z0-9._-]{1,200}$"
_OWN_TOPICS = (
    "partials", "values", "journal", "shifts", "history", "answers", "definitions", "late",
    "dead-letters",
)  # fmt: skip
_PREFIX_AND_TOPIC_MAX = 249 - len("-e999999-checkpoint--changelog")
_SERVER = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\s:,/]+):(\d{1,5})$")
_PACKAGE = Path(__file__).parents[1]


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _existing_file(value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        raise ValueError("a file that exists")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )


class KafkaSettings(_Section):
    """The broker, credentials for it, and the options of consumers."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """host:port; separate several by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    tls_ca_file: Path | None = None
    """PEM; without it the system's certificate authorities are trusted."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: SecretStr | None = None
    request_timeout_ms: int = Field(
        default=90_000, ge=REQUEST_TIMEOUT_MIN_MS, le=REQUEST_TIMEOUT_MAX_MS
    )
    """Must be longer than a broker restart, or a recovery during one would fail."""
    session_timeout_ms: int = Field(
        default=6_000, ge=SESSION_TIMEOUT_MIN_MS, le=REQUEST_TIMEOUT_MAX_MS
    )
    """A dead worker's partitions move to other workers after this long."""
    heartbeat_ms: int = Field(default=1_500, ge=100)
    """How often a worker reports to the group that it is alive, and learns of a rebalance."""
    fetch_min_bytes: int = Field(default=64 * 1024, ge=1, le=FETCH_BYTES_MAX)
    """Coalesces small fetches: at 1,000 events/s they take 8-13 % of a core instead of 69 %."""
    fetch_max_wait_ms: int = 200
    """Upper bound of the delay that coalescing may cost, 1 to FETCH_WAIT_MAX_MS."""
    fetch_max_bytes: int = Field(default=1024 * 1024, ge=64 * 1024, le=FETCH_BYTES_MAX)
    """Limit for one partition in one fetch. 4 MiB gained nothing."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        for server in value.split(","):
            match = _SERVER.match(server.strip())
            if match is None or not 0 < int(match[2]) < 65_536:  # noqa: PLR2004 - a port
                raise ValueError("host:port, several separated by commas")
        return value

    @field_validator("sasl_username", "sasl_password")
    @classmethod
    def _credentials(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.data.get("security_protocol", "").startswith("SASL"):
            raise ValueError("a value, because kafka.security_protocol is SASL")
        return value

    @field_validator("tls_ca_file", "tls_certificate_file", "tls_key_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        return _existing_file(value)

    @field_validator("session_timeout_ms")
    @classmethod
    def _within_a_request(cls, value: int, info: ValidationInfo) -> int:
        request = info.data.get("request_timeout_ms")
        if request is not None and value > request:
            raise ValueError(f"at most kafka.request_timeout_ms, {request}")
        return value

    @field_validator("heartbeat_ms")
    @classmethod
    def _third(cls, value: int, info: ValidationInfo) -> int:
        session = info.data.get("session_timeout_ms")
        if session is not None and value * 3 > session:
            raise ValueError(f"at most a third of kafka.session_timeout_ms, {session // 3}")
        return value

    @field_validator("fetch_max_wait_ms")
    @classmethod
    def _answered_often(cls, value: int) -> int:
        if not 0 < value <= FETCH_WAIT_MAX_MS:
            raise ValueError(
                f"1 to {FETCH_WAIT_MAX_MS}: only this often a partition without events shows that it "
                "was read to its end, and as_of waits for that"
            )
        return value

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for every aiokafka client. Raises OSError when a TLS file is bad."""
        return {"bootstrap_servers": self.bootstrap_servers, **self.auth_options()}

    def auth_options(self) -> dict[str, Any]:
        """Keyword arguments by which an aiokafka client authenticates."""
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.tls_ca_file)
        if self.tls_certificate_file is not None:
            password = self.tls_key_password
            context.load_cert_chain(
                self.tls_certificate_file,
                self.tls_key_file,
                None if password is None else password.get_secret_value(),
            )
        return context


def _is_a_changelog(prefix: str, topic: str) -> bool:
    return re.match(rf"{re.escape(prefix)}-e\d+-", topic) is not None and topic.endswith(
        "-changelog"
    )


class TopicSettings(_Section):
    """Names of the topics; ecindex's own share a prefix."""

    orders: str = Field(default="orders", pattern=_TOPIC)
    payments: str = Field(default="payments", pattern=_TOPIC)
    prefix: str = Field(default="ecindex", pattern=_TOPIC)
    partials_partitions: int = Field(default=12, ge=1, le=1_000)
    """Fixed when the topic is created: a market's partition is hash(market) % this."""
    replication_factor: int | None = Field(default=None, ge=1, le=10)
    """For topics that ecindex creates; unset: 3, or the number of brokers if fewer."""
    import_restamps: bool = False
    """Whether `import` and `simulate --backfill` may let producers stamp the inputs, which the broker
    stamps. `ecindex up` says yes: its topics are nobody else's."""

    @field_validator("orders", "payments", "prefix")
    @classmethod
    def _of_kafka(cls, value: str) -> str:
        if not value.strip("."):
            raise ValueError("a name that is more than dots")
        return value

    @field_validator("payments")
    @classmethod
    def _another(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("orders"):
            raise ValueError("another topic than topics.orders")
        return value

    @field_validator("prefix")
    @classmethod
    def _apart(cls, value: str, info: ValidationInfo) -> str:
        for name in ("orders", "payments"):
            topic = info.data.get(name, "")
            if topic in {f"{value}.{own}" for own in _OWN_TOPICS} or _is_a_changelog(value, topic):
                raise ValueError(
                    f"a prefix under which topics.{name} ({topic}) is no topic of our own"
                )
            if len(value) + len(topic) > _PREFIX_AND_TOPIC_MAX:
                raise ValueError(
                    f"at most {_PREFIX_AND_TOPIC_MAX} characters with topics.{name}: the name of a "
                    "table's topic has both, and Kafka allows 249"
                )
        return value

    @property
    def partials(self) -> str:
        """Rows and marks from level 1 to level 2."""
        return f"{self.prefix}.partials"

    @property
    def values(self) -> str:
        """Current values and fence records."""
        return f"{self.prefix}.values"

    @property
    def journal(self) -> str:
        """What was published when, and every revision with its cause."""
        return f"{self.prefix}.journal"

    @property
    def shifts(self) -> str:
        """Shifts of demand, found and ended."""
        return f"{self.prefix}.shifts"

    @property
    def history(self) -> str:
        """Seeded hourly aggregates and operators' factors."""
        return f"{self.prefix}.history"

    @property
    def answers(self) -> str:
        """What operators said of incidents."""
        return f"{self.prefix}.answers"

    @property
    def definitions(self) -> str:
        """Documents that say which labels are which member."""
        return f"{self.prefix}.definitions"

    @property
    def late(self) -> str:
        """Events that came too late."""
        return f"{self.prefix}.late"

    @property
    def dead_letters(self) -> str:
        """Records that break the contract."""
        return f"{self.prefix}.dead-letters"


class RedisSettings(_Section):
    """The Redis to which values are published."""

    url: str = "redis://127.0.0.1:6379/0"
    """One server, a master that Sentinels name, or a Cluster; see docs/security.md for the forms."""
    username: str | None = None
    password: SecretStr | None = None
    sentinel_username: str | None = None
    """For the Sentinels themselves, which have users of their own."""
    sentinel_password: SecretStr | None = None
    tls_ca_file: Path | None = None
    """PEM, for a rediss URL; without it the system's certificate authorities are trusted."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    timeout_ms: int = Field(default=3_000, ge=100, le=60_000)
    """Longest wait for a connection, or for one answer. It must be longer than a round trip."""
    prefix: str = Field(default="ecindex", pattern=r"^[a-zA-Z0-9._:-]{1,100}$")

    @property
    def keys_prefix(self) -> str:
        """Start of every key: the prefix and the contract's version."""
        return f"{self.prefix}:v1"

    @property
    def timeout_s(self) -> float:
        """``timeout_ms`` as Redis clients take it."""
        return self.timeout_ms / 1000

    def auth_options(self) -> dict[str, str | None]:
        """Options by which every Redis client authenticates; see ``redis_clients.async_client``."""
        options = {"username": self.username, "password": _revealed(self.password)}
        address = parse_redis_url(self.url)
        if address.deployment is Deployment.SENTINEL:
            options["sentinel_username"] = self.sentinel_username
            options["sentinel_password"] = _revealed(self.sentinel_password)
        if address.tls:  # only this kind of connection accepts them
            for name, file in (
                ("ssl_ca_certs", self.tls_ca_file),
                ("ssl_certfile", self.tls_certificate_file),
                ("ssl_keyfile", self.tls_key_file),
            ):
                if file is not None:
                    options[name] = str(file)
        return options

    @field_validator("tls_ca_file", "tls_certificate_file", "tls_key_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        return _existing_file(value)

    @field_validator("url")
    @classmethod
    def _usable(cls, value: str) -> str:
        check_redis_url(value)
        return value


_HOST = re.compile(r"^(\*\.)?[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63})*$")


class ServerSettings(_Section):
    """An address to listen on."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    """0: any free port."""
    hosts: tuple[str, ...] = ()
    """Names that requests may use beside addresses and localhost; ``*.domain`` for all below it.

    A list, or one text with commas between the names, as a variable of the environment has it.
    """

    @field_validator("hosts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(","))
        return value

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_HOST.fullmatch, value)):
            raise ValueError("a name, or *.domain, without a port; several separated by commas")
        return value


class IntervalSettings(_Section):
    """How often results are sent. An interval decides how soon a value shows, never the value."""

    partials_ms: int = Field(default=200, ge=10, le=10_000)
    checkpoint_ms: int = Field(default=1_000, ge=50, le=60_000)
    checkpoint_bytes: int = Field(default=512 * 1024, ge=4_096, le=CHECKPOINT_BYTES_MAX)
    publish_min_interval_ms: int = Field(default=250, ge=10, le=10_000)
    stale_after_s: int = Field(default=60, ge=5, le=3_600)
    """Redis keys expire after this unless renewed: absent means unknown."""


class LimitSettings(_Section):
    """Limits of what a worker may hold in memory."""

    dedupe_ids_max: int = Field(default=20_000_000, ge=10_000, le=1_000_000_000)
    """A worker with more ids in open panes halts its fullest partition; 8 bytes each."""


_ADDRESS_MAX = 500
_ADDRESS = re.compile(r"https?://[^\s\"'<>`{}|\\^$?#]+")
_WEBHOOK_ADDRESS = re.compile(r"https?://[^\s/?#]+([/?][^\s#]*)?")


def _as_address(value: str) -> str:
    """An address to which a path or an anchor is added: it ends before both. No text of a template."""
    if _ADDRESS.fullmatch(value) is None:
        raise ValueError("an address http://HOST or https://HOST, without ? and # and quotes")
    return value


_Address = Annotated[str, Field(max_length=_ADDRESS_MAX), AfterValidator(_as_address)]


class LinksSettings(_Section):
    """Addresses that people open. Alerts, dashboards and the page link to what is set here."""

    board: _Address | None = None
    """The live page, as seen from a browser."""
    grafana: _Address | None = None
    """Grafana with the dashboards of config/grafana/."""
    runbook: _Address | None = None
    """docs/runbook.md where your people read it, with a heading's anchor at each heading."""

    @field_validator("board", "grafana", "runbook")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        return None if value is None else value.rstrip("/")


_Secret = Annotated[SecretStr, Field(min_length=1)]
"""An empty one would not protect: anybody can sign with an empty key."""
_MAIL_SERVER = r"^(\[[0-9a-fA-F:.]+\]|[^\s:,/]+):\d{1,5}$"
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;\x00-\x1f]+@[^\s@<>,;\x00-\x1f]+")


class NotifySettings(ServerSettings):
    """Where `ecindex notify` takes Alertmanager's notifications, and to whom it sends them."""

    port: int = Field(default=9_095, ge=0, le=65_535)
    """Alertmanager's configuration names it; 0: any free port."""
    token: _Secret | None = None
    """What Alertmanager must send as its bearer token; unset: whoever reaches the port may send."""
    prometheus_url: _Address | None = None
    """Prometheus with the rules of config/prometheus/. Pictures are drawn from what it holds."""
    slack_token: _Secret | None = None
    """Of a bot with the scopes chat:write and files:write."""
    slack_channel: str | None = Field(default=None, pattern=r"^[CGD][A-Z0-9]{6,}$")
    """Id of the channel that the bot was invited to."""
    slack_api: _Address = "https://slack.com/api"
    """Another one for GovSlack."""
    pagerduty_key: _Secret | None = None
    """Routing key of an integration of the kind Events API v2."""
    pagerduty_api: _Address = "https://events.pagerduty.com"
    """Another one for accounts in the service region EU."""
    mail_server: str | None = Field(default=None, pattern=_MAIL_SERVER)
    """host:port of a server that takes mail by SMTP."""
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    mail_username: str | None = None
    mail_password: _Secret | None = None
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()
    """A list, or one text with commas between the addresses."""
    webhook_url: SecretStr | None = None
    """Gets each message as JSON (docs/contract.md). Shown nowhere: its query may be a credential."""
    webhook_secret: _Secret | None = None
    """Key of the signature in the header of each request."""

    @field_validator("mail_to", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(","))
        return value

    @field_validator("mail_to", "mail_from")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for address in (value,) if isinstance(value, str) else value or ():
            # Few servers take others (SMTPUTF8), and one that does not refuses the mail for everybody.
            if _MAIL_ADDRESS.fullmatch(address) is None or not address.isascii():
                raise ValueError(
                    "name@domain in ASCII, without a display name; a domain in other letters as xn--.."
                )
        return value

    @field_validator("webhook_url")
    @classmethod
    def _webhook(cls, value: SecretStr | None) -> SecretStr | None:
        address = _revealed(value)
        if address is not None and (
            len(address) > _ADDRESS_MAX
            or _WEBHOOK_ADDRESS.fullmatch(address) is None
            or not address.isprintable()
        ):
            raise ValueError(
                "an address http://HOST or https://HOST, a path and a query may follow, without # "
                f"and spaces, of at most {_ADDRESS_MAX} characters"
            )
        return value

    @field_validator("slack_channel", "mail_from", "mail_to", "webhook_secret")
    @classmethod
    def _together(cls, value: Any, info: ValidationInfo) -> Any:
        first = {
            "slack_channel": "slack_token",
            "mail_from": "mail_server",
            "mail_to": "mail_server",
            "webhook_secret": "webhook_url",
        }[info.field_name or ""]
        if not value and info.data.get(first) is not None:
            raise ValueError(f"a value, because notify.{first} is set")
        return value

    def revealed_token(self) -> str | None:
        """The bearer token that Alertmanager must send; None where none is asked for."""
        return _revealed(self.token)

    def slack_credential(self) -> str | None:
        """The bot's token; None where Slack is not set."""
        return _revealed(self.slack_token)

    def pagerduty_credential(self) -> str | None:
        """The routing key; None where PagerDuty is not set."""
        return _revealed(self.pagerduty_key)

    def mail_credentials(self) -> tuple[str, str] | None:
        """User and password for the mail server; None where it asks for none."""
        password = _revealed(self.mail_password)
        return (
            None
            if self.mail_username is None or password is None
            else (self.mail_username, password)
        )

    def webhook_address(self) -> str | None:
        """Where the webhook is; None where none is set."""
        return _revealed(self.webhook_url)

    def webhook_key(self) -> bytes | None:
        """Key of the webhook's signature; None where no webhook is set."""
        secret = _revealed(self.webhook_secret)
        return None if secret is None else secret.encode()


class AnswerSettings(_Section):
    """Who may answer incidents on the page. Without a token it is read-only."""

    tokens_file: Path | None = None
    """Lines of NAME:TOKEN. The name is who answered; keep the file from others."""
    pagerduty_secret: _Secret | None = None
    """Of a PagerDuty webhook (version 3) to /pagerduty: what is acknowledged there is here, too."""

    def revealed_secret(self) -> str | None:
        """The webhook's secret; None where PagerDuty tells nothing."""
        return _revealed(self.pagerduty_secret)

    @field_validator("tokens_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        return _existing_file(value)


class DoorToken(_Section):
    """Who may send events to `ecindex door`, and which. `ecindex door token NAME` prints one."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    """Names the sender in metrics and logs. Two tokens of one sender have two names."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    """SHA-256 of the token. The token itself is nowhere here."""
    markets: tuple[str, ...] = Field(min_length=1)
    """Codes of the markets that it may send events of."""
    kinds: tuple[Literal["orders", "payments"], ...] = Field(
        default=("orders", "payments"), min_length=1
    )
    events_per_s: int = Field(default=5_000, ge=1, le=1_000_000)
    """More are answered with 429. It may be saved up for one second, or for one request."""


class DoorSettings(ServerSettings):
    """Where `ecindex door` takes events over HTTP, from whom, and how much."""

    port: int = Field(default=9_096, ge=0, le=65_535)
    """0: any free port."""
    tokens: tuple[DoorToken, ...] = ()
    """Who may send events. Without one, and without a source that delivers, the door does not start."""
    secrets_file: Path | None = None
    """Lines of NAME:SECRET, of the sources that deliver. Keep it from others; SIGHUP reads it again."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies that speak TLS with the senders, before a door that does not."""
    tls_certificate_file: Path | None = None
    """PEM, with the chain up to its authority. With it the door speaks TLS itself."""
    tls_key_file: Path | None = None
    """Unset: the key is in the certificate's file."""
    tls_key_password: SecretStr | None = None
    body_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1_024, le=64 * 1024 * 1024)
    """Of one request, after decompression."""
    events_max: int = Field(default=1_000, ge=1, le=100_000)
    """Of one request."""
    connections_max: int = Field(default=256, ge=1, le=10_000)
    spool_after_ms: int = Field(default=2_000, ge=100, le=60_000)
    """Longest wait for Kafka's acknowledgement; then events wait on disk, in ``data_dir``."""
    spool_bytes_max: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024, le=1024**4)
    """When as much waits there, senders get 503."""

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(","))
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError("addresses or networks, as 10.0.0.7 or 10.0.0.0/24") from None
        return value

    @field_validator("tokens")
    @classmethod
    def _by_name(cls, value: tuple[DoorToken, ...]) -> tuple[DoorToken, ...]:
        if len({token.name for token in value}) < len(value):
            raise ValueError("a name of its own for each token")
        return value

    @field_validator("secrets_file", "tls_certificate_file", "tls_key_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        return _existing_file(value)

    def tls_context(self) -> ssl.SSLContext | None:
        """How the door speaks TLS; None where it does not. Raises OSError when a file is bad."""
        if self.tls_certificate_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(
            self.tls_certificate_file, self.tls_key_file, _revealed(self.tls_key_password)
        )
        return context


class SourcesSettings(_Section):
    """Systems whose own records become events, and what `ecindex translate` keeps of their orders."""

    files: tuple[Path, ...] = ()
    """Source files (docs/sources.md). A list, or one text with commas between the files."""
    orders_kept_days: int = Field(default=40, ge=1, le=400)
    """An order of which nothing came for so long is forgotten. What comes later begins it anew."""
    orders_max: int = Field(default=1_000_000, ge=1_000, le=50_000_000)
    """Orders kept of one partition, about 400 bytes of memory each. Beyond, the oldest are forgotten."""
    waiting_max: int = Field(default=10_000, ge=1, le=1_000_000)
    """Orders of one partition for which refunds, cancels or captures may wait. The next is refused."""
    order_partitions: int = Field(default=6, ge=1, le=1_000)
    """Of the topic in which a source's records are brought together by order. Fixed once it exists."""
    dead_letter_secret: _Secret | None = None
    """Key of the hash by which a dead letter can be compared with a record; unset: it has no hash."""

    @field_validator("files", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(","))
        return value

    def hash_key(self) -> bytes | None:
        """The key of hashes in dead letters; None where there are none."""
        secret = _revealed(self.dead_letter_secret)
        return None if secret is None else secret.encode()


class LogSettings(_Section):
    """What is logged to stderr, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    """auto: console when stderr is a terminal, else json."""


def default_config(name: str) -> Path:
    """Path of a default configuration file: the wheel's copy, else the checkout's ``config/``."""
    packaged = _PACKAGE / "default_config" / name
    return packaged if packaged.exists() else _PACKAGE.parent / "config" / name


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable, "")  # noqa: TID251 - this is the reader of the environment
    return (Path(base) if Path(base).is_absolute() else Path.home() / fallback) / "ecindex"


class Settings(BaseSettings):
    """Everything an operator may set. Constructing it reads no source; use `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    methodology: Path = Field(default_factory=lambda: default_config("methodology.toml"))
    """The file that decides how an event becomes a number; see docs/methodology.md."""
    data_dir: Path = Field(default_factory=lambda: _xdg("XDG_DATA_HOME", ".local/share"))
    cache_dir: Path = Field(default_factory=lambda: _xdg("XDG_CACHE_HOME", ".cache"))
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    redis: RedisSettings = RedisSettings()
    metrics: ServerSettings = ServerSettings()
    board: ServerSettings = ServerSettings()
    intervals: IntervalSettings = IntervalSettings()
    limits: LimitSettings = LimitSettings()
    links: LinksSettings = LinksSettings()
    notify: NotifySettings = NotifySettings()
    answers: AnswerSettings = AnswerSettings()
    door: DoorSettings = DoorSettings()
    sources: SourcesSettings = SourcesSettings()
    log: LogSettings = LogSettings()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only what is passed in: `load_settings` merges the sources and keeps their names."""
        return (init_settings,)
