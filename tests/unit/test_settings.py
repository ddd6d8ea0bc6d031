"""Settings: three sources, rising; whatever is wrong is named with where it came from."""

from __future__ import annotations

import json
import os
import re
import ssl
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.publish.redis_clients import sync_client
from streams.publish.redis_urls import parse_redis_url
from streams.settings import (
    RedisSettings,
    Settings,
    SettingsError,
    as_toml,
    default_config,
    describe,
    environment_of_page,
    environment_without_settings,
    load_methodology,
    load_settings,
    local_settings,
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch) -> None:
    for name in list(os.environ):  # noqa: TID251 - a developer's own must not reach the tests
        if name.startswith("ECINDEX_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path):
    def write(text) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return write


def problems(file=None, overrides=None):
    with pytest.raises(SettingsError) as caught:
        load_settings(file, overrides)
    return caught.value.problems


def origin(settings, name):
    return next(found.origin for found in describe(settings) if found.setting == name)


@pytest.mark.parametrize(
    "address",
    [
        "index.example",
        "ftp://index.example",
        "https://x/?a=1",
        "https://x/#top",
        'https://x/"{{ . }}',
    ],
)
def test_a_link_is_an_address_to_which_a_path_can_be_added(config, address):
    file = config(f"[links]\nboard = {json.dumps(address)}\n")
    assert [found.setting for found in problems(file=file)] == ["links.board"]


def test_a_link_ends_without_a_slash(config):
    file = config('[links]\ngrafana = "https://grafana.example/sub/"\n')
    assert load_settings(file).links.grafana == "https://grafana.example/sub"


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('slack_token = "xoxb-1"', "notify.slack_channel"),
        ('slack_token = "xoxb-1"\nslack_channel = "#night"', "notify.slack_channel"),
        ('webhook_url = "https://x.example/hook"', "notify.webhook_secret"),
        ('mail_server = "mail:25"\nmail_from = "a@b"', "notify.mail_to"),
        ('mail_server = "mail"', "notify.mail_server"),
        ('mail_to = ["a@b\\nBcc: c@d"]', "notify.mail_to"),
        ('mail_to = ["a@b.example", "n\u00e4\u00efve@b.example"]', "notify.mail_to"),
        ('mail_to = ["a@m\u00fcller.example"]', "notify.mail_to"),
        ('mail_from = "\u00e4@b.example"', "notify.mail_from"),
        ('webhook_url = "https://x.example/hook#top"', "notify.webhook_url"),
        ('prometheus_url = "prometheus:9090"', "notify.prometheus_url"),
    ],
)
def test_a_receiver_of_messages_is_set_whole(config, text, setting):
    assert problems(file=config(f"[notify]\n{text}\n"))[0].setting == setting


def test_what_an_address_must_be_is_said_in_words(config):
    """A name in other letters stopped the mail for everybody; a pattern told nobody why."""
    text = 'mail_to = ["n\u00e4@b.example"]\nwebhook_url = "x?sig=keep-it"\nprometheus_url = "x"\n'
    found = {each.setting: each for each in problems(file=config(f"[notify]\n{text}"))}
    assert {name: each.expected for name, each in found.items()} == {
        "notify.mail_to": "name@domain in ASCII, without a display name; a domain in other letters "
        "as xn--..",
        "notify.webhook_url": "an address http://HOST or https://HOST, a path and a query may follow, "
        "without # and spaces, of at most 500 characters",
        "notify.prometheus_url": "an address http://HOST or https://HOST, without ? and # and quotes",
    }
    assert "keep-it" not in repr(found)


def test_a_domain_in_other_letters_is_given_in_its_ascii_form(monkeypatch):
    monkeypatch.setenv("ECINDEX_NOTIFY__MAIL_TO", "a@xn--mller-kva.example")
    assert load_settings().notify.mail_to == ("a@xn--mller-kva.example",)


def test_a_webhook_may_sign_by_its_query_which_is_shown_nowhere(config):
    address = "https://x.example/hook?code=1&sig=keep-it"
    settings = load_settings(config(f'[notify]\nwebhook_url = "{address}"\nwebhook_secret = "s"\n'))
    assert settings.notify.webhook_address() == address
    assert "keep-it" not in repr(settings) + as_toml(settings) + repr(describe(settings))


@pytest.mark.parametrize("name", ["notify.token", "answers.pagerduty_secret"])
def test_an_empty_secret_is_refused(config, name):
    section, _, setting = name.partition(".")
    (problem,) = problems(file=config(f'[{section}]\n{setting} = ""\n'))
    assert problem.setting == name


@pytest.mark.parametrize(
    "name", ["token", "slack_token", "pagerduty_key", "mail_password", "webhook_secret"]
)
def test_a_secret_of_messages_is_shown_nowhere(config, monkeypatch, name):
    file = config('[notify]\nwebhook_url = "https://x.example/h"\nslack_channel = "C0123456789"\n')
    monkeypatch.setenv("ECINDEX_NOTIFY__WEBHOOK_SECRET", "keep-it")
    monkeypatch.setenv(f"ECINDEX_NOTIFY__{name.upper()}", "keep-it")
    settings = load_settings(file)
    assert "keep-it" not in repr(settings) + as_toml(settings) + repr(describe(settings))
    (found,) = problems(file, {f"notify.{name}": [7]})
    assert (found.setting, found.found) == (f"notify.{name}", None)


def test_addresses_of_mail_are_a_list_or_one_text(monkeypatch):
    monkeypatch.setenv("ECINDEX_NOTIFY__MAIL_TO", "a@b.example, c@d.example")
    assert load_settings().notify.mail_to == ("a@b.example", "c@d.example")


def test_each_source_is_stronger_than_the_one_before(config, monkeypatch):
    file = config('[topics]\norders = "of-file"\npayments = "of-file"\nprefix = "of-file"\n')
    monkeypatch.setenv("ECINDEX_TOPICS__PAYMENTS", "of-env")
    monkeypatch.setenv("ECINDEX_TOPICS__PREFIX", "of-env")
    settings = load_settings(file, {"topics.prefix": "of-cli", "redis.url": None})
    topics = settings.topics
    assert (topics.orders, topics.payments, topics.prefix) == ("of-file", "of-env", "of-cli")
    assert origin(settings, "topics.orders") == f"file {file}"
    assert origin(settings, "topics.payments") == "environment ECINDEX_TOPICS__PAYMENTS"
    assert origin(settings, "topics.prefix") == "command line"
    assert origin(settings, "redis.url") == "default"


def test_the_file_that_the_environment_names_is_read(config, monkeypatch):
    monkeypatch.setenv("ECINDEX_CONFIG", str(config("[metrics]\nport = 9_464\n")))
    assert load_settings().metrics.port == 9_464


def test_a_file_that_is_named_must_exist_and_be_toml(tmp_path, config):
    assert problems(file=tmp_path / "absent.toml")[0].setting == "config"
    assert "TOML" in str(problems(file=config("[metrics\n"))[0])


@pytest.mark.parametrize(
    ("variable", "value", "setting", "expected"),
    [
        ("ECINDEX_METRICS__PORT", "http", "metrics.port", "integer"),
        ("ECINDEX_METRICS__PORT", "70000", "metrics.port", "65535"),
        ("ECINDEX_KAFKA__BOOTSTRAP_SERVERS", "kafka", "kafka.bootstrap_servers", "host:port"),
        ("ECINDEX_KAFKA__BOOTSTRAP_SERVERS", "k:0", "kafka.bootstrap_servers", "host:port"),
        ("ECINDEX_KAFKA__HEARTBEAT_MS", "2001", "kafka.heartbeat_ms", "at most a third"),
        ("ECINDEX_KAFKA__FETCH_MAX_WAIT_MS", "0", "kafka.fetch_max_wait_ms", "1 to 500"),
        ("ECINDEX_KAFKA__FETCH_MAX_WAIT_MS", "501", "kafka.fetch_max_wait_ms", "as_of waits"),
        ("ECINDEX_INTERVALS__CHECKPOINT_BYTES", "921601", "intervals.checkpoint_bytes", "921600"),
        ("ECINDEX_LOG__LEVEL", "loud", "log.level", "'debug', 'info'"),
        ("ECINDEX_TOPICS__PREFIX", "a b", "topics.prefix", "pattern"),
        ("ECINDEX_REDIS__URL", "http://x", "redis.url", "redis://"),
        ("ECINDEX_REDIS__URL", "redis+sentinel://h:1", "redis.url", "name of the master"),
        ("ECINDEX_REDIS__URL", "redis+cluster://h:1/3", "redis.url", "database 0 only"),
        ("ECINDEX_REDIS__TIMEOUT_MS", "99", "redis.timeout_ms", "100"),
        ("ECINDEX_REDIS__URL", "redis://h:99999/0", "redis.url", "'h:99999' is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", "redis://h:0", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", "redis://h/x", "redis.url", "redis://"),
        ("ECINDEX_REDIS__URL", "redis://a..b/0", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", "redis://[1:2]/0", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", "redis+sentinel://[::1:]/m", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", f"redis://{'h' * 64}/0", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_REDIS__URL", "redis://a,b/0", "redis.url", "is no HOST:PORT"),
        ("ECINDEX_METRICS__HOSTS", "a b", "metrics.hosts", "several separated by commas"),
        ("ECINDEX_METRICS__HOSTS", "a,,b", "metrics.hosts", "several separated by commas"),
        ("ECINDEX_BOARD__HOSTS", "[a", "board.hosts", "several separated by commas"),
        ("ECINDEX_BOARD__HOSTS", "http://a", "board.hosts", "several separated by commas"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_found(
    monkeypatch, variable, value, setting, expected
):
    monkeypatch.setenv(variable, value)
    (problem,) = problems()
    assert problem.setting == setting
    assert problem.found == repr(value)
    assert problem.origin == f"environment {variable}"
    assert expected in problem.expected


@pytest.mark.parametrize("section", ["metrics", "board"])
@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("metrics.example", ("metrics.example",)),
        ("a, *.b", ("a", "*.b")),
        ('["a", "b"]', ("a", "b")),
        ("[]", ()),
        ("10", ("10",)),
    ],
)
def test_a_list_may_be_written_with_commas(config, monkeypatch, section, text, hosts):
    monkeypatch.setenv(f"ECINDEX_{section}__HOSTS".upper(), text)
    assert getattr(load_settings(), section).hosts == hosts
    monkeypatch.delenv(f"ECINDEX_{section}__HOSTS".upper())
    if not text.startswith("["):
        assert getattr(load_settings(config(f'{section}.hosts = "{text}"')), section).hosts == hosts


def test_a_wrong_element_of_a_list_is_named_with_its_origin(monkeypatch):
    monkeypatch.setenv("ECINDEX_METRICS__HOSTS", '["a", 1]')
    (problem,) = problems()
    assert problem.setting == "metrics.hosts"
    assert problem.origin == "environment ECINDEX_METRICS__HOSTS"


@pytest.mark.parametrize("text", ["not json", "[1]", "3", "{"])
@pytest.mark.parametrize("section", ["redis", "kafka", "metrics"])
def test_a_variable_of_a_whole_section_is_an_error(monkeypatch, section, text):
    monkeypatch.setenv(f"ECINDEX_{section}".upper(), text)
    monkeypatch.setenv("ECINDEX_REDIS__URL", "redis://h/0")
    (problem,) = problems()
    assert problem.setting == section
    assert "a table of settings" in problem.expected


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/0",
        "redis://h/",
        "rediss://h.example.:1",
        "redis://[::1]:1/2",
        "redis://h/0?db=3",
        "unix:///run/redis.sock?db=3",
        "redis+sentinel://a,b:1/m/2",
        "rediss+cluster://a,b:1",
    ],
)
def test_a_client_is_made_of_each_address_that_is_accepted(url):
    redis = load_settings(None, {"redis.url": url}).redis
    with sync_client(redis.url, {}, timeout_s=1) if "cluster" not in url else nullcontext():
        assert parse_redis_url(redis.url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h/0",
        "redis://hunter2@h/0",
        "redis://:hunter2%40h/0",
        "redis://u:hunter2/0",
        "redis://u:hunter2/0?db=1",
        "redis://h?password=hunter2",
        "redis://h/0?username=u&p%61ssword=hunter2",
        "redis://h/0?db=1&password=hunter2",
        "redis://h/0#hunter2",
        "unix:///run/redis.sock?password=hunter2",
        "unix://u:hunter2@/run/redis.sock",
        "redis+sentinel://:hunter2@a/m",
        "redis+sentinel://u:hunter2,b/m",
        "redis+sentinel://a/m?sentinel_password=hunter2",
        "redis+sentinel://a/m/0?password=hunter2",
        "redis+cluster://a?password=hunter2",
        "redis+cluster://a,u:hunter2@b",
        "redis+other://u:hunter2/a",
        "redis://h?socket_timeout=hunter2",
        "redis://h?ssl_cert_reqs=hunter2",
    ],
)
def test_a_password_or_option_in_the_address_is_refused_and_never_shown(monkeypatch, url):
    monkeypatch.setenv("ECINDEX_REDIS__URL", url)
    (problem,) = problems()
    assert problem.setting == "redis.url"
    assert "hunter2" not in str(problem)


def test_every_problem_is_reported_at_once(config, monkeypatch):
    monkeypatch.setenv("ECINDEX_LOG__LEVEL", "loud")
    file = config('[metrics]\nport = "x"\n')
    found = problems(file=file, overrides={"limits.dedupe_ids_max": 0})
    assert {problem.setting for problem in found} == {
        "log.level",
        "metrics.port",
        "limits.dedupe_ids_max",
    }


def test_an_unknown_setting_stops_start_up_and_the_nearest_one_is_proposed(config, monkeypatch):
    (problem,) = problems(file=config('[kafka]\nbootstrap_server = "a:1"\n'))
    assert "did you mean kafka.bootstrap_servers?" in problem.expected
    monkeypatch.setenv("ECINDEX_KAFKA__SASL_PASWORD", "hunter2")
    (problem,) = problems()
    assert problem.setting == "kafka.sasl_pasword"
    assert "hunter2" not in str(problem), "what was meant may have been a secret"


@pytest.mark.parametrize(
    "service", ["ECINDEX", "ECINDEX_BOARD", "ECINDEX_METRICS", "ECINDEX_CONFIG"]
)
def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting(monkeypatch, service):
    address = "tcp://10.96.0.7:9464"
    for variable, value in {
        "SERVICE_HOST": "10.96.0.7",
        "SERVICE_PORT": "9464",
        "SERVICE_PORT_METRICS": "9464",
        "PORT": address,
        "PORT_9464_TCP": address,
        "PORT_9464_TCP_PROTO": "tcp",
        "PORT_9464_TCP_PORT": "9464",
        "PORT_9464_TCP_ADDR": "10.96.0.7",
        "PORT_53_UDP": "udp://10.96.0.7:53",
    }.items():
        monkeypatch.setenv(f"{service}_{variable}", value)
    assert load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ECINDEX_METRICS_PORT", "9464"),  # one underscore too few
        ("ECINDEX_PORT", "9464"),
        ("ECINDEX_METRICS__SERVICE_HOST", "x"),
        ("ECINDEX_REDIS_URL", "redis://10.96.0.7:6379/0"),
    ],
)
def test_what_looks_like_a_setting_still_stops_start_up(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings(None)


def test_a_value_where_a_table_belongs_is_an_error(config):
    (problem,) = problems(file=config("kafka = 3\n"))
    assert "table" in problem.expected


def test_secrets_are_never_shown(monkeypatch):
    monkeypatch.setenv("ECINDEX_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("ECINDEX_REDIS__PASSWORD", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(describe(settings))
    monkeypatch.setenv("ECINDEX_REDIS__URL", "redis://:hunter2@host:6379/0")
    (problem,) = problems()
    assert "redis.password" in problem.expected
    assert "hunter2" not in str(problem)


def test_sasl_needs_a_user_and_a_password():
    found = problems(overrides={"kafka.security_protocol": "SASL_SSL"})
    assert [problem.setting for problem in found] == ["kafka.sasl_username", "kafka.sasl_password"]


def test_client_options_carry_what_the_protocol_needs():
    plain = load_settings(overrides={"kafka.bootstrap_servers": "a:1,[::1]:2"})
    assert plain.kafka.client_options() == {
        "bootstrap_servers": "a:1,[::1]:2",
        "security_protocol": "PLAINTEXT",
    }
    secured = load_settings(
        overrides={
            "kafka.security_protocol": "SASL_SSL",
            "kafka.sasl_username": "u",
            "kafka.sasl_password": "p",
        }
    ).kafka.client_options()
    assert (secured["sasl_plain_username"], secured["sasl_plain_password"]) == ("u", "p")
    assert secured["sasl_mechanism"] == "SCRAM-SHA-512"
    assert secured["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert secured["ssl_context"].check_hostname


def test_paths_of_the_file_are_relative_to_the_file(config):
    file = config('methodology = "mine.toml"\n')
    assert load_settings(file).methodology == file.parent / "mine.toml"


def test_the_default_methodology_is_found_and_a_broken_one_is_named(tmp_path):
    assert load_methodology(load_settings()).edition >= 1
    path = tmp_path / "methodology.toml"
    for content in (None, "edition = 0\n"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(SettingsError) as caught:
            load_methodology(load_settings(overrides={"methodology": path}))
        assert caught.value.problems[0].setting == "methodology"
        assert caught.value.problems[0].found == str(path)


def test_names_of_our_topics_carry_the_prefix():
    settings = load_settings(overrides={"topics.prefix": "shop"})
    assert settings.topics.partials == "shop.partials"
    assert settings.topics.dead_letters == "shop.dead-letters"


def test_settings_are_frozen_and_constructing_them_reads_no_environment(monkeypatch):
    monkeypatch.setenv("ECINDEX_METRICS__PORT", "1")
    settings = Settings()
    assert settings.metrics.port == 0
    with pytest.raises(ValidationError):
        settings.metrics = settings.board
    with pytest.raises(ValidationError):
        settings.metrics.port = 2


def test_the_shipped_file_shows_every_setting_with_its_default():
    lines = default_config("ecindex.toml").read_text().splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.startswith("[") or " =" in line]
    set_lines = [line for line in shown if not line.split("#")[0].rstrip().endswith("=")]
    values = tomllib.loads("\n".join(set_lines))
    unset = {line.split(" =")[0] for line in shown if line not in set_lines}
    defaults = Settings().model_dump(mode="json")
    for name in ("methodology", "data_dir", "cache_dir"):  # differ by machine
        assert values.pop(name)
        defaults.pop(name)
    for section, found in defaults.items():
        missing = found.keys() - values[section].keys()
        assert all(found[name] is None for name in missing)
        assert missing <= unset
        assert values[section] == {name: found[name] for name in values[section]}
    assert values.keys() == defaults.keys()


class TestHandedToAnotherProcess:
    """`up` and `demo` resolve the settings once, for workers that must not ask elsewhere."""

    def test_a_written_file_says_the_same(self, config, tmp_path):
        given = {
            "kafka.fetch_max_wait_ms": 30,
            "topics.orders": "of-cli",
            "topics.replication_factor": 2,
            "data_dir": tmp_path / 'a "quoted" \u00fc dir',
            "intervals.stale_after_s": 61,
        }
        settings = load_settings(config(""), given)
        read_back = load_settings(config(as_toml(settings)))
        assert read_back.model_dump() == settings.model_dump()

    def test_no_secret_is_written(self, config):
        settings = load_settings(config(""), {"redis.password": "tell nobody"})
        assert "tell nobody" not in as_toml(settings)

    def test_local_servers_get_no_credentials_and_no_other_address(self, config, monkeypatch):
        monkeypatch.setenv("ECINDEX_KAFKA__BOOTSTRAP_SERVERS", "production:9092")
        monkeypatch.setenv("ECINDEX_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
        monkeypatch.setenv("ECINDEX_KAFKA__SASL_USERNAME", "me")
        monkeypatch.setenv("ECINDEX_KAFKA__SASL_PASSWORD", "tell nobody")
        monkeypatch.setenv("ECINDEX_REDIS__PASSWORD", "tell nobody")
        monkeypatch.setenv("ECINDEX_INTERVALS__STALE_AFTER_S", "61")
        local = local_settings(
            load_settings(config("")),
            bootstrap="127.0.0.1:1",
            redis_url="redis://127.0.0.1:2/0",
            data_dir=Path("/somewhere"),
        )
        assert local.kafka.client_options() == {
            "bootstrap_servers": "127.0.0.1:1",
            "security_protocol": "PLAINTEXT",
        }
        assert local.redis.password is None
        assert local.intervals.stale_after_s == 61

    def test_they_link_to_their_own_page_unless_the_settings_name_another(self, config):
        def links(text):
            local = local_settings(
                load_settings(config(text)),
                bootstrap="127.0.0.1:1",
                redis_url="redis://127.0.0.1:2/0",
                data_dir=Path("/somewhere"),
                board="http://127.0.0.1:3/",
            )
            return local.links

        assert links("").board == "http://127.0.0.1:3"
        named = links(
            '[links]\nboard = "https://index.example"\nrunbook = "https://wiki.example/x"\n'
        )
        assert (named.board, named.runbook) == ("https://index.example", "https://wiki.example/x")

    def test_what_was_set_of_page_and_messages_is_kept_but_for_who_is_told(self, config):
        text = (
            '[board]\nport = 18980\nhosts = ["index.example"]\n[metrics]\nhosts = ["a.example"]\n'
            '[notify]\nport = 19095\nhosts = ["b.example"]\nmail_server = "mail.example:25"\n'
            'mail_from = "a@b.example"\nmail_to = ["c@d.example"]\n'
        )
        local = local_settings(
            load_settings(config(text)),
            bootstrap="127.0.0.1:1",
            redis_url="redis://127.0.0.1:2/0",
            data_dir=Path("/somewhere"),
        )
        read_back = load_settings(config(as_toml(local)))
        assert (read_back.board.port, read_back.board.hosts) == (18_980, ("index.example",))
        assert (read_back.notify.port, read_back.notify.hosts) == (19_095, ("b.example",))
        assert read_back.metrics.hosts == ("a.example",)
        assert (read_back.notify.mail_server, read_back.notify.mail_to) == (None, ())

    def test_the_page_gets_the_secret_that_no_file_has(self, config, monkeypatch):
        monkeypatch.setenv("ECINDEX_REDIS__URL", "redis://production:6379/0")
        settings = load_settings(config('[answers]\npagerduty_secret = "of-file"\n'))
        environment = environment_of_page(settings)
        assert {name: value for name, value in environment.items() if "ECINDEX_" in name} == {
            "ECINDEX_ANSWERS__PAGERDUTY_SECRET": "of-file"
        }
        monkeypatch.undo()
        bare = environment_of_page(load_settings(config("")))
        assert not [name for name in bare if name.startswith("ECINDEX_")]

    def test_their_environment_says_nothing_of_ours(self, monkeypatch):
        monkeypatch.setenv("ECINDEX_CONFIG", "mine.toml")
        monkeypatch.setenv("ECINDEX_REDIS__URL", "redis://production:6379/0")
        monkeypatch.setenv("LANG_OF_TEST", "C")
        environment = environment_without_settings()
        assert not [name for name in environment if name.startswith("ECINDEX_")]
        assert environment["LANG_OF_TEST"] == "C"


def test_sentinels_have_users_of_their_own_and_tls_is_for_both():
    def options(url):
        redis = RedisSettings(url=url, username="u", password="p", sentinel_password="s")
        return redis.auth_options()

    plain = {"username": "u", "password": "p"}
    assert options("redis://h/0") == options("rediss+cluster://h") == plain
    sentinel = {"sentinel_username": None, "sentinel_password": "s"}
    assert options("rediss+sentinel://h/m") == plain | sentinel


def with_times(path, **times):
    text = default_config("methodology.toml").read_text()
    for name, value in times.items():
        text = re.sub(rf"(?m)^{name} = \d+", f"{name} = {value}", text)
    path.write_text(text)
    return load_settings(overrides={"methodology": path})


@pytest.mark.parametrize(
    "times",
    [{"pane_ms": 60_000}, {"pane_ms": 30_000}, {"out_of_order_ms": 30_000, "pane_ms": 1_000},
     {"pane_ms": 20_000, "out_of_order_ms": 7_551}],
)  # fmt: skip
def test_a_methodology_under_which_a_healthy_index_looks_behind_is_refused(tmp_path, times):
    with pytest.raises(SettingsError) as caught:
        load_methodology(with_times(tmp_path / "m.toml", **times))
    assert "behind" in str(caught.value)
    for name, value in times.items():
        assert f"{name} {value}" in str(caught.value)


def test_the_longest_pane_and_the_longest_intervals_that_readers_bear_are_accepted(tmp_path):
    settings = with_times(tmp_path / "m.toml", pane_ms=20_000, out_of_order_ms=7_550)
    assert load_methodology(settings).pane_ms == 20_000
    longest = {"intervals.partials_ms": 10_000, "intervals.publish_min_interval_ms": 10_000}
    assert load_methodology(load_settings(overrides=longest)).pane_ms == 5_000
