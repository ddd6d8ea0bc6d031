"""Rules and alerts: promtool's cases pass, and each alert has both kinds of case and an instruction."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.documented import UsageError, advised, alert_descriptions, parse
from support.operator_files import CONFIG, DASHBOARDS, ROOT, rules
from support.prometheus import program

from streams.local.debian_packages import AMTOOL, PROMTOOL
from streams.local.monitoring import RECEIVERS, with_webhook
from streams.notify.trying import Pace
from streams.settings import Settings
from streams.worker.stops import ExitCode

pytestmark = pytest.mark.slow

CASES = sorted(Path(__file__).parent.glob("*.yml"))
ALERTS = {alert["alert"]: alert for alert in rules("alerts")}
NOBODY = 'ALERTS{alertstate="firing"}'


def run(*argv):
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def cases():
    for path in CASES:
        yield from yaml.safe_load(path.read_text())["tests"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.deep
def test_the_cases_of_promtool_pass(cache_dir, path):
    run(*program(cache_dir, PROMTOOL), "test", "rules", str(path))


def test_the_configuration_files_are_valid(cache_dir):
    run(*program(cache_dir, PROMTOOL), "check", "config", str(CONFIG / "prometheus/prometheus.yml"))
    run(*program(cache_dir, AMTOOL), "check-config", str(CONFIG / "alertmanager/alertmanager.yml"))


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name):
    asked = [
        bool(check["exp_alerts"])
        for case in cases()
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == name
    ]
    assert True in asked, f"{name} fires in no case of {CASES}"
    silent = any(
        check["expr"] == NOBODY and not check["exp_samples"]
        for case in cases()
        for check in case.get("promql_expr_test", ())
    )
    assert False in asked or silent


@pytest.mark.parametrize(
    "story",
    [
        "a rebalance",
        "a worker that is killed",
        "a restart of Redis",
        "a quiet night",
        "an operator",
    ],
)
def test_what_must_wake_nobody_has_a_case(story):
    (case,) = [case for case in cases() if story in case["name"].replace("what an op", "an op")]
    assert any(check["expr"] == NOBODY for check in case["promql_expr_test"])


def without_links(template):
    """What an address is while the settings links.* are not set."""
    return re.sub(r"\{\{ with .*?\}\}.*\{\{ else \}\}(.*?)\{\{ end \}\}", r"\1", template)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_links_to_its_dashboard_and_its_market_to_the_page(name):
    said = ALERTS[name]["annotations"]
    uids = {json.loads(path.read_text())["uid"] for path in DASHBOARDS}
    (uid,) = re.findall(r"/d/([\w-]+)\?", said["dashboard_url"])
    assert uid in uids
    of_market = "$labels.market" in said["summary"]
    assert ("var-market" in said["dashboard_url"]) == ("page_url" in said) == of_market
    for address in ("dashboard_url", "page_url", "runbook_url"):
        assert "ecindex_links_info:last" in said.get(address, "ecindex_links_info:last")


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_bad_what_and_what_to_do(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in RECEIVERS
    assert re.search(r"\$value|query|\b0 workers", alert["annotations"]["summary"])
    assert "keep_firing_for" in alert
    said = alert["annotations"]
    assert said["description"].endswith(".")
    path, _, anchor = without_links(said["runbook_url"]).partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_command_that_an_alert_advises_is_one_that_the_command_line_takes():
    """As Prometheus writes it. tests/unit/operate/test_typed_answers.py types those about incidents."""
    found = {command for _, text in alert_descriptions() for command in advised(text)}
    assert len(found) > 10
    for command in found:
        parse(command)
    with pytest.raises(UsageError):
        parse("ecindex answer PK expect")


def test_the_runbook_has_no_entry_without_an_alert():
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^### (Ecindex\w+)$", text, re.MULTILINE)) == set(ALERTS)


def test_routes_name_only_alerts_that_there_are():
    text = (CONFIG / "alertmanager" / "alertmanager.yml").read_text()
    assert set(re.findall(r"Ecindex\w+", text)) <= set(ALERTS)
    assert yaml.safe_load(text)["route"]["group_by"] == ["market", "incident"]


def test_a_webhook_is_given_to_both_receivers():
    text = (CONFIG / "alertmanager" / "alertmanager.yml").read_text()

    def hooks(made):
        found = {each["name"]: each for each in yaml.safe_load(made)["receivers"]}
        assert set(found) == {*RECEIVERS, "fallback"}
        return [found[name].get("webhook_configs", [{}])[0].get("url") for name in RECEIVERS]

    assert hooks(text) == [f"http://notify:{Settings().notify.port}/alerts"] * 2
    assert hooks(with_webhook(text, "http://127.0.0.1:1/x")) == ["http://127.0.0.1:1/x"] * 2
    assert hooks(with_webhook(text, None)) == [None] * 2


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("alertname=EcindexMarketOutage", "severity=page", "market=PK"), "page"),
        (("alertname=EcindexLag", "severity=ticket"), "ticket"),
        (("alertname=EcindexNotifyDown", "severity=page"), "fallback,page"),
        (("alertname=EcindexNotifyFailing", "severity=page", "receiver=slack"), "fallback,page"),
    ],
)
def test_alertmanager_routes_an_alert_to_those_who_must_know(cache_dir, labels, receivers):
    file = CONFIG / "alertmanager" / "alertmanager.yml"
    asked = [*program(cache_dir, AMTOOL), "config", "routes", "test", f"--config.file={file}"]
    run(*asked, f"--verify.receivers={receivers}", *labels)


def test_a_market_hides_its_members_only_in_its_own_direction_and_incident():
    """A jump of a category was told when the alert of an outage before it had ended, minutes later."""
    rules = yaml.safe_load((CONFIG / "alertmanager" / "alertmanager.yml").read_text())[
        "inhibit_rules"
    ]
    hides = [rule["equal"] for rule in rules if "EcindexDemandShift" in rule["target_matchers"][0]]
    assert hides == [["market", "direction", "incident"]] * 2


def test_what_joins_an_incident_that_is_told_is_told_within_seconds():
    """A market stopped two minutes after a category of it: its alert waited for `group_interval`."""
    route = yaml.safe_load((CONFIG / "alertmanager" / "alertmanager.yml").read_text())["route"]
    (page,) = [each for each in route["routes"] if each["receiver"] == "page"]
    assert (page["group_wait"], page["group_interval"]) == ("5s", "15s")
    assert Pace().delivery_s < 15, "the answer comes before Alertmanager hangs up"


def test_what_notify_cannot_tell_goes_out_without_it():
    route = yaml.safe_load((CONFIG / "alertmanager" / "alertmanager.yml").read_text())["route"]
    first = route["routes"][0]
    assert first["receiver"] == "fallback"
    assert first["continue"]
    about_notify = {name for name in ALERTS if name.startswith("EcindexNotify")}
    assert set(re.findall(r"Ecindex\w+", first["matchers"][0])) == about_notify


def test_the_runbook_explains_every_exit_code_of_a_worker():
    text = (ROOT / "docs" / "runbook.md").read_text()
    ends = {(int(code), code.name) for code in ExitCode if code is not ExitCode.OK}
    assert {
        (int(n), name) for n, name in re.findall(r"\b(\d+) ([A-Z]+(?:_[A-Z]+)*)\b", text)
    } == ends
