"""Where sums are full the fold, the audit's recomputation and the reference refuse the same events.

Sums hold 922,337 events of the largest legal size. Here they hold one, and there is one.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.flow.chunk import SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.plain import OrderFold
from streams.flow.source_state import SourceState
from streams.index.event_types import EVENT_SUM_MAX
from streams.proof.recompute.asking import Ask
from streams.proof.recompute.batch import SourceBatch
from tests.support.events import T0, Sent, chunk_of, encoded, source_logs
from tests.support.flow_harness import METHODOLOGY, order, payment
from tests.support.reference import Rules, SourceReference

MODULES = (
    "streams.flow.fold_payments",
    "streams.flow.order_checks",
    "streams.proof.recompute.batch",
    "tests.support.reference.counting",
)


@pytest.fixture(autouse=True)
def _small_sums(monkeypatch):
    for name in MODULES:
        monkeypatch.setattr(f"{name}.SUM_MAX", EVENT_SUM_MAX)


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_full_sums_refuse_the_same_events(payments, data):
    most = EVENT_SUM_MAX - data.draw(st.integers(0, 600))
    first = (
        payment("first", T0, amount=most)
        if payments
        else order("first", T0, lines=[("x", 1, most)])
    )
    log = [Sent(encoded(first), T0), *data.draw(source_logs(payments=payments))]
    sp = SourcePartition("payments" if payments else "orders", 0)
    reference = SourceReference(Rules.of(METHODOLOGY), payments)
    for offset, (value, timestamp_ms, doubtful) in enumerate(log):
        reference.add(offset, value, timestamp_ms, doubtful=doubtful)
    fold = SourceFold(SourceState(sp, METHODOLOGY, payments=payments))
    if not payments:  # the limit of the other half is fixed
        fold._orders = OrderFold(fold.source, compiled=False)
    folded = fold.fold(chunk_of(log, sp, 0, len(log)))
    assert {record.offset: record.reason for record in folded.dead} == reference.reasons
    batch = SourceBatch(
        sp, METHODOLOGY, payments=payments, sink=lambda *_: None, ask=Ask(state_at=len(log) - 1)
    )
    batch.feed(range(len(log)), *map(list, zip(*log, strict=True)))
    aside = {record.offset: record.reason for record in (*folded.dead, *folded.late)}
    assert batch.set_aside == aside
