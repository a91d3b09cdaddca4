"""Workers own shards by leases: tests of one machine on a distributed database."""

from tests.integration.test_shard_owners import (
    test_a_late_owners_end_of_a_task_does_not_touch_who_does_it_now,
    test_a_worker_that_wakes_after_its_lease_went_to_another_takes_nothing,
    test_two_owners_never_both_act_whatever_dies_sleeps_or_comes,
)

__all__ = [
    "test_a_late_owners_end_of_a_task_does_not_touch_who_does_it_now",
    "test_a_worker_that_wakes_after_its_lease_went_to_another_takes_nothing",
    "test_two_owners_never_both_act_whatever_dies_sleeps_or_comes",
]
