"""How long a source waits before it is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metrics.ingest import runner
from metrics.ingest.runner import BackOff


@given(st.lists(st.floats(0, 60), min_size=1, max_size=20), st.floats(0, 1e6))
def test_it_pauses_longer_each_time_up_to_a_minute(lengths: list[float], already: float) -> None:
    back_off = BackOff(already)
    bound = min(already, runner.LONGEST_PAUSE_SECONDS)
    for ran_for in lengths:
        is_first = ran_for >= runner.STEADY_SECONDS or bound < runner.FIRST_PAUSE_SECONDS
        bound = runner.FIRST_PAUSE_SECONDS if is_first else min(2 * bound, runner.LONGEST_PAUSE_SECONDS)
        assert bound / 2 <= back_off.after(ran_for) <= bound <= runner.LONGEST_PAUSE_SECONDS
