"""The doctor on labels that no member has, and labels for which rows had no room."""

from types import SimpleNamespace

import pytest
from support.publications import others_of_day

from streams.proof.doctor.findings import Level
from streams.proof.doctor.label_checks import check_labels
from streams.publish.other_records import published_others


def examined(*days, market="PK"):
    published = [published_others(market, each) for each in days]
    return check_labels({market: SimpleNamespace(others=published), "BD": None})


def test_undeclared_labels_are_named_with_what_to_do():
    (finding,) = examined(others_of_day(("garden gnomes", 60), ("pet food", 4), unnamed=7))
    assert (finding.level, finding.where) == (Level.WARNING, "PK category")
    assert finding.found == (
        "6.4%; in `other`: category 6.4 % of 1,000 orders on 2024-10-04: garden gnomes 60, pet food 4, "
        "unnamed 7"
    )
    assert "`ecindex definitions propose PK`" in finding.fix


def test_a_label_can_do_nothing_to_a_terminal():
    (finding,) = examined(others_of_day(("\x1b[31m\u202egnomes\n", 60)))
    assert not set(finding.line().replace("\n        ", "")) & set("\x1b\u202e\n")


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        ([("gnomes", 50)], {}),  # 5 %
        ([("gnomes", 49)], {"total": 100}),  # of a day that has just begun
        ([], {"other": 500, "unnamed": 500}),
        ([("gnomes", 2)], {"more": 10}),  # 1 %
    ],
)
def test_little_is_no_finding(labels, more):
    (finding,) = examined(others_of_day(*labels, **more), others_of_day(("old", 900), day=19_999))
    assert (finding.level, finding.where) == (Level.OK, "PK")


def test_labels_without_room_are_a_finding_of_their_own():
    (finding,) = examined(others_of_day(("gnomes", 2), more=11))
    assert finding.level is Level.WARNING
    assert finding.found.startswith("1.1% without room; in `other`: category 0.2 % of 1,000 orders")
    assert "EcindexLabelsWithoutRoom" in finding.fix


def test_payments_name_methods_too_and_nothing_is_said_of_what_is_not_known():
    by_payments = others_of_day(("crypto", 90), dimension="payment_method", counted="payments")
    (finding,) = examined(by_payments)
    assert (finding.where, finding.cause) == ("PK payment_method", "undeclared payments")
    assert examined() == []
