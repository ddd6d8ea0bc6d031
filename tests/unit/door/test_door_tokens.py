"""DoorTokens are let in by their hash alone; a rate is kept over any time."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.door.door_tokens import PREFIX, DoorTokens, Rate, hash_of, new_token, settings_lines
from streams.settings import DoorToken, SettingsError, as_toml, describe, load_settings

OLD, NEW = f"{PREFIX}{'o' * 43}", f"{PREFIX}{'n' * 43}"


def let_in(name, token, **changes):
    return DoorToken(name=name, sha256=hash_of(token), markets=("PK",), **changes)


def test_a_token_has_256_random_bits_and_no_other_is_like_it():
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(token) == len(PREFIX) + 43 and token.startswith(PREFIX) for token in made)


def test_both_tokens_of_a_sender_that_changes_them_are_let_in():
    tokens = DoorTokens([let_in("shop", OLD), let_in("shop-2", NEW)])
    assert tokens.named_by(f"Bearer {OLD}").name == "shop"
    assert tokens.named_by(f"bearer  {NEW} ").name == "shop-2"


@pytest.mark.parametrize(
    "header",
    [None, "", OLD, "Bearer", "Bearer ", f"Basic {OLD}", f"Bearer {OLD[:-1]}", f"Bearer {OLD}x",
     f"Bearer {hash_of(OLD)}", "Bearer \udcff", "Bearer é"],
)  # fmt: skip
def test_whatever_else_is_shown_lets_nobody_in(header):
    assert DoorTokens([let_in("shop", OLD)]).named_by(header) is None


def test_every_token_is_compared_so_that_the_time_of_an_answer_says_nothing(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "streams.door.door_tokens.hmac.compare_digest",
        lambda given, own: compared.append(own) or given == own,
    )
    tokens = [let_in(f"t{n}", new_token()) for n in range(3)]
    assert DoorTokens([let_in("shop", OLD), *tokens]).named_by(f"Bearer {OLD}").name == "shop"
    assert compared == [hash_of(OLD), *(token.sha256 for token in tokens)]


def test_a_rate_is_saved_up_for_a_second_and_no_more():
    rate = Rate(100, request_events_max=10)
    assert rate.wait_s(100, 0) == 0
    assert rate.wait_s(1, 0) == pytest.approx(0.01)
    assert rate.wait_s(50, 500) == 0
    assert rate.wait_s(25, 500) == pytest.approx(0.25)
    assert rate.wait_s(100, 60_000) == 0
    assert rate.wait_s(1, 60_000) > 0


def test_a_request_that_is_larger_than_a_second_allows_is_taken_when_enough_is_saved():
    rate = Rate(1, request_events_max=10)
    assert rate.wait_s(10, 0) == 0
    assert rate.wait_s(10, 1_000) == pytest.approx(9)
    assert rate.wait_s(10, 10_000) == 0


def test_the_lines_that_are_printed_let_the_token_in(tmp_path):
    file = tmp_path / "ecindex.toml"
    file.write_text(settings_lines("shop", NEW, ["PK", "BD"], ["orders"]))
    (token,) = load_settings(file).door.tokens
    assert DoorTokens([token]).named_by(f"Bearer {NEW}") == token
    assert (token.name, token.markets, token.kinds) == ("shop", ("PK", "BD"), ("orders",))
    assert NEW not in file.read_text()


def test_settings_with_tokens_are_written_and_read_back(tmp_path):
    file = tmp_path / "ecindex.toml"
    file.write_text(settings_lines("shop", NEW, ["PK"], ["orders", "payments"]))
    settings = load_settings(file)
    copy = tmp_path / "copy.toml"
    copy.write_text(as_toml(settings))
    assert load_settings(copy).door == settings.door
    assert tomllib.loads(copy.read_text())["door"]["tokens"][0]["name"] == "shop"
    (shown,) = [each.value for each in describe(settings) if each.setting == "door.tokens"]
    assert "shop" in shown
    assert hash_of(NEW) not in shown


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('name = "shop"\nsha256 = "abc"\nmarkets = ["PK"]', "door.tokens[0].sha256"),
        ('name = "Shop!"\nmarkets = ["PK"]', "door.tokens[0].name"),
        ('name = "shop"\nmarkets = []', "door.tokens[0].markets"),
        ('name = "shop"\nmarkets = ["PK"]\nkinds = ["returns"]', "door.tokens[0].kinds.0"),
        ('name = "shop"\nmarkets = ["PK"]\nsecret = "x"', "door.tokens[0].secret"),
    ],
)
def test_a_wrong_token_is_named_with_its_place_and_never_shown(tmp_path, text, setting):
    file = tmp_path / "ecindex.toml"
    file.write_text(f"[[door.tokens]]\n{text}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    named = {problem.setting: problem for problem in caught.value.problems}
    assert named[setting].origin == f"file {file}"
    assert named[setting].found is None


def test_two_tokens_of_one_name_are_refused(tmp_path):
    file = tmp_path / "ecindex.toml"
    lines = settings_lines("shop", NEW, ["PK"], ["orders"])
    file.write_text(f"{lines}\n{lines}\n")
    with pytest.raises(SettingsError, match="a name of its own"):
        load_settings(file)


def test_the_command_prints_a_token_that_its_lines_let_in(tmp_path):
    arguments = ["door", "token", "shop", "--markets", "HOME", "--kinds", "orders", "--json"]
    made = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    file = tmp_path / "ecindex.toml"
    file.write_text(made["lines"])
    (token,) = load_settings(file).door.tokens
    assert DoorTokens([token]).named_by(f"Bearer {made['token']}") == token
    shown = CliRunner().invoke(app, ["door", "token", "shop"]).stdout
    assert 'markets = ["HOME"]\nkinds = ["orders", "payments"]' in shown


@pytest.mark.parametrize(
    "arguments", [["Shop!"], ["shop", "--markets", "XX"], ["shop", "--kinds", "returns"]]
)
def test_a_token_for_what_does_not_exist_is_not_made(arguments):
    assert CliRunner().invoke(app, ["door", "token", *arguments]).exit_code == 1
