"""Each source has one secret, or two while it changes them; a wrong file is named and never shown."""

from __future__ import annotations

import hashlib

import pytest
from support.door_sources import SECRET, source_file

from streams.door.source_secrets import load_secrets
from streams.settings import DoorSettings, SettingsError, load_settings, load_sources

HASH = hashlib.sha256(b"token").hexdigest()


@pytest.fixture
def loaded(tmp_path):
    def load(text, **webhooks):
        for name, signature in webhooks.items():
            (tmp_path / f"{name}.toml").write_text(
                source_file(name, f'[webhook]\nsignature = "{signature}"')
            )
        files = [str(tmp_path / f"{name}.toml") for name in webhooks]
        file = tmp_path / "secrets"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        sources = load_sources(load_settings(overrides={"sources.files": files}))
        return load_secrets(DoorSettings(secrets_file=file), sources)

    return load


def test_a_source_has_one_secret_or_two(loaded):
    text = f"# of shops\n\nshop: {SECRET} \nshop:{SECRET}:2\nhook:{HASH}\n"
    assert loaded(text, shop="shopify", hook="bearer") == {
        "shop": (SECRET.encode(), f"{SECRET}:2".encode()),
        "hook": (HASH.encode(),),
    }


def test_a_secret_is_bytes(loaded):
    secret = "ä".encode("latin-1") * 20
    assert loaded(b"shop:" + secret, shop="woocommerce") == {"shop": (secret,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "one or 2 secrets of shop"),
        ("\n".join(f"shop:{SECRET}{n}" for n in range(3)), "one or 2 secrets of shop"),
        (f"shop{SECRET}", "line 1: NAME:SECRET"),
        (f"# 1\nshop:{SECRET[:15]}", "line 2: NAME:SECRET, 16 characters"),
        (f"shop:{SECRET}\nshopp:{SECRET}x", "names of sources that have [webhook], not 'shopp'"),
        (f"shop:{SECRET}\nhook:{SECRET}", "of hook the SHA-256 of its token"),
        (f"shop:{SECRET}\nother:{SECRET}", "other and shop share one"),
    ],
)
def test_a_wrong_file_is_named_and_never_shown(loaded, text, expected):
    hook = {"hook": "bearer"} if "hook" in text else {}
    other = {"other": "stripe"} if "other" in text else {}
    with pytest.raises(SettingsError) as caught:
        loaded(text, shop="shopify", **hook, **other)
    assert any(expected in problem.expected for problem in caught.value.problems)
    assert SECRET[:15] not in str(caught.value)


def test_without_a_file_nothing_may_deliver(tmp_path):
    assert load_secrets(DoorSettings(), []) == {}
    file = tmp_path / "shop.toml"
    file.write_text(source_file("shop", '[webhook]\nsignature = "stripe"'))
    sources = load_sources(load_settings(overrides={"sources.files": [str(file)]}))
    with pytest.raises(SettingsError, match=r"door\.secrets_file"):
        load_secrets(DoorSettings(), sources)
