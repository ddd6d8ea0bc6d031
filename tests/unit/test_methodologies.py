"""The methodology that is found without settings, and those of other shops in config/examples/."""

from __future__ import annotations

import re
import tomllib

import pytest
from support.methodologies import DEMO, EXAMPLES, OLIST, ONLINE_RETAIL
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.index.methodology import DIMENSIONS, parse
from streams.settings import (
    SettingsError,
    default_config,
    load_methodology,
    load_settings,
    or_example,
    or_kept,
    require_markets,
)
from streams.shops.simulate_profile import load_profile

ROOT = EXAMPLES.parents[1]
TEMPLATE = ROOT / "config/methodology.toml"
MARKETS = {DEMO: ["BD", "LK", "MM", "NP", "PK"], OLIST: ["BR"], ONLINE_RETAIL: ["GB"]}
COLUMNS = "event_id,type,occurred_at,market,currency,quantity,unit_price_minor"


def shipped_as_default():
    """Files that an installation has without an example being named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    # The schemas are the contract's: their examples are no settings.
    for name in included.keys() - {"config/examples", "config/schemas"}:
        path = ROOT / name
        yield from (
            [path] if path.is_file() else (each for each in path.rglob("*") if each.is_file())
        )


def words_of(text):
    return set(re.findall(r"\w+", text.casefold()))


def test_an_installation_begins_with_one_market_that_has_all_dimensions():
    settings = load_settings()
    assert settings.methodology == TEMPLATE
    found = load_methodology(settings)
    assert [*found.markets] == ["HOME"]
    home = found.markets["HOME"]
    assert (home.name, home.currency, home.time_zone) == ("Home market", "EUR", "UTC")
    assert home.method_aliases["credit_card"] == "card"
    assert home.channel_aliases["android"] == "app"
    members = (home.categories, home.methods, home.regions, home.channels)
    assert len(members) == len(DIMENSIONS)
    assert all(len(each) >= 4 for each in members)


def test_what_the_template_shows_in_comments_is_valid():
    """Each setting that is commented out may be put to use."""
    text = re.sub(r"(?m)^# (?=\[\[events|\w+ = )", "", TEMPLATE.read_text())
    home = parse(text).markets["HOME"]
    assert (home.events[0].dimension, home.events[0].factor) == ("market", 1.8)
    assert home.base is not None
    assert {line.split(" =")[0] for line in text.splitlines()} >= {"members_max", "shift_weight"}


def test_no_file_that_ships_as_default_names_the_shop_of_another():
    others = {"olist", "easypaisa", "soghaat"}
    for path in MARKETS:
        for market in parse(path.read_text()).markets.values():
            others |= words_of(f"{market.code} {market.name} {market.currency}")
    files = [*shipped_as_default()]
    assert TEMPLATE in files
    assert len(files) > 5
    assert not [path for path in files if words_of(path.read_text()) & others]


@pytest.mark.parametrize("path", MARKETS, ids=lambda path: path.parent.name)
def test_an_example_is_a_whole_configuration(path):
    settings = load_settings(path.with_name("ecindex.toml"))
    assert settings.methodology == path
    assert [*load_methodology(settings).markets] == MARKETS[path]


def test_the_simulated_shops_sell_in_the_markets_of_their_example():
    known, sold = parse(DEMO.read_text()).markets, load_profile().markets
    assert {code: (each.currency, each.time_zone) for code, each in known.items()} == {
        code: (each.currency, each.time_zone) for code, each in sold.items()
    }


def test_a_methodology_that_is_named_is_used_and_no_example(tmp_path):
    plain = load_settings()
    assert or_example(plain, "demo").methodology == DEMO
    assert plain.methodology == TEMPLATE
    named = load_settings(overrides={"methodology": OLIST})
    assert or_example(named, "demo") is named
    assert or_kept(named, DEMO.with_name("ecindex.toml")) is named


def test_a_directory_goes_on_with_its_methodology(tmp_path):
    file = tmp_path / "ecindex.toml"
    plain = load_settings()
    for content in (None, "", "methodology = 1", "methodology ="):
        if content is not None:
            file.write_text(content)
        assert or_kept(plain, file).methodology == TEMPLATE
    file.write_text('methodology = "gone.toml"')
    with pytest.raises(SettingsError) as caught:
        load_methodology(or_kept(plain, file))
    (problem,) = caught.value.problems
    assert (problem.found, problem.origin) == (str(tmp_path / "gone.toml"), f"file {file}")


def test_markets_that_no_example_has_are_named_up_to_five():
    with pytest.raises(SettingsError) as caught:
        require_markets(load_settings(), ["HOME", "PK", *"abcdefg"], "it")
    expected = "a file with the markets of it: 'PK', 'a', 'b', 'c', 'd' and 3 more"
    assert caught.value.problems[0].expected == expected


@pytest.mark.parametrize(
    ("market", "named"), [("BD", f"'BD', as {DEMO}; "), ("DE", "'DE'\n"), ("HOME", "")]
)
def test_rows_of_a_market_without_workers_are_not_sent(tmp_path, market, named):
    row = f"e1,order.placed,2026-11-24T10:00:00Z,{market},EUR,1,500"
    (tmp_path / "orders.csv").write_text(f"{COLUMNS}\n{row}\n")
    found = CliRunner().invoke(app, ["import", "csv", str(tmp_path), "--bootstrap", "127.0.0.1:1"])
    assert f"the markets of `import csv`: {named}" in found.stderr or not named
    assert found.exit_code == (2 if named else 1), "1: no Kafka answers there"


def test_shops_are_not_simulated_where_their_events_would_be_dead_letters():
    found = CliRunner().invoke(
        app, ["simulate", "--markets", "PK,LK", "--bootstrap", "127.0.0.1:1"]
    )
    assert found.exit_code == 2
    assert f"'LK', 'PK', as {DEMO}; " in found.stderr
    assert f"found {default_config('methodology.toml')} (default)" in found.stderr
