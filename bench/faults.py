"""The faults that a broker survives, and the tests that inject each: one row a line of docs/reliability.md.

An architecture test holds the two against each other and sees that every test exists.
"""

from __future__ import annotations

from dataclasses import dataclass

_CACHE = "tests/integration/test_cache_redis.py::test_"
_UNWRITTEN = "tests/integration/test_redis_refuses.py::test_where_nothing_can_be_written_"
_REPLAY = "tests/integration/test_replay_guard.py::test_"
_SPREAD = "tests/integration/test_revocation_spread.py::test_"
_STS = "tests/integration/test_sts_client.py::test_"
_REGIONS = "tests/integration/test_sts_failover.py::test_"
_STS_FAULTS = "tests/e2e/test_sts_faults.py::test_"
_DISK = "tests/integration/test_audit_disk.py::test_"
_KEYTAB = "tests/integration/test_keytab_rotation.py::test_"
_TLS = "tests/integration/test_tls_reload.py::test_"
_POLICY = "tests/integration/test_policy_reload.py::test_"
_JOB = "tests/e2e/test_main_job.py::test_"
_SURVIVES = "tests/e2e/test_audit_survives.py::test_"
_FLOODS = "tests/e2e/test_floods.py::test_"
_CLOCK = "tests/e2e/test_clock_jumps.py::test_"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, what is right then, and which tests make it happen to real parts and look."""

    what: str
    right: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "Redis down, slow, frozen, with `replay_guard: local`",
        "200 by way of STS; at most 250 ms once, then a breaker; /readyz says degraded; back within 5 s",
        (
            f"{_CACHE}a_frozen_redis_costs_one_request_its_patience_and_the_others_nothing",
            f"{_CACHE}a_stopped_redis_is_gone_without_a_failed_request_and_comes_back",
            f"{_CACHE}a_slow_redis_is_left_alone_until_it_is_fast_again",
            f"{_REPLAY}local_mode_goes_on_without_redis",
            f"{_REPLAY}an_unreachable_guard_refuses_quickly_and_serves_again_soon_after",
        ),
    ),
    Fault(
        "Redis full, read-only, loading, flushed, failed over",
        "reads are used, a failed write is a metric; misses coalesce; revocations survive",
        (
            "tests/integration/test_redis_store.py::test_while_redis_loads_its_data_it_is_left_alone",
            f"{_UNWRITTEN}no_ticket_counts_and_no_pass_is_made_and_those_there_are_count",
            f"{_UNWRITTEN}each_instance_counts_alone_and_nobody_comes_more_often_than_that",
            f"{_UNWRITTEN}no_time_box_is_asked_for_and_those_there_are_are_seen",
            f"{_REPLAY}what_an_emptied_redis_has_forgotten_each_host_remembers_for_itself",
            f"{_CACHE}a_redis_that_takes_no_writes_still_gives_what_it_has_and_misses_coalesce",
            f"{_CACHE}two_instances_share_the_cache_and_a_flushed_redis_costs_the_second_a_chain",
            f"{_SPREAD}a_flushed_redis_gets_it_back_and_newcomers_hear_it",
            f"{_SPREAD}an_old_state_of_redis_revives_nothing",
        ),
    ),
    Fault(
        "STS throttles (HTTP 400 `Throttling`)",
        "at most 3 tries in 3 s with jitter, then 503 and Retry-After; what is cached is served",
        (
            f"{_STS}throttling_is_tried_at_most_three_times_in_three_seconds",
            f"{_STS_FAULTS}each_fault_has_its_code_in_time_and_nothing_is_kept_or_let_out",
            f"{_STS_FAULTS}credentials_at_hand_are_given_while_sts_throttles_or_hangs",
        ),
    ),
    Fault(
        "STS answers 5xx, hangs, has no name in DNS, sends HTML with 200",
        "502, 503 or 504 within 5 s; a thousand who wait do not delay /healthz by more than 50 ms; the next region",
        (
            f"{_STS_FAULTS}each_fault_has_its_code_in_time_and_nothing_is_kept_or_let_out",
            f"{_STS_FAULTS}a_host_that_does_not_resolve_is_told_in_time_and_counted_by_its_region",
            f"{_STS_FAULTS}a_resolver_that_hangs_costs_those_who_need_it_a_504_and_nobody_else_anything",
            f"{_STS}waiters_of_a_hanging_sts_leave_the_event_loop_free",
            f"{_REGIONS}a_sick_region_is_followed_by_the_next_which_takes_what_earlier_hops_gave",
        ),
    ),
    Fault(
        "the chain fails at hop 2; base credentials ended; clock skew with STS",
        "hop 1 is dropped; one reload, one retry; 503, reason `clock_skew` in the record",
        (
            f"{_STS}a_denial_at_the_second_hop_is_a_refusal",
            f"{_STS_FAULTS}each_fault_has_its_code_in_time_and_nothing_is_kept_or_let_out",
            f"{_STS_FAULTS}base_credentials_that_ended_are_looked_for_again_and_the_chain_is_walked_again_once",
        ),
    ),
    Fault(
        "the KDC is down",
        "held service tickets still work; the broker starts without it",
        (
            (
                "tests/e2e/test_kdc_down.py::"
                "test_held_service_tickets_work_while_the_kdc_is_down_and_after_a_restart_of_the_broker"
            ),
        ),
    ),
    Fault(
        "the keytab is rotated, or half written",
        "nobody fails while both key versions are kept; a bad file keeps the last good one and alerts",
        (
            f"{_KEYTAB}a_rotation_under_load_fails_nobody",
            f"{_KEYTAB}what_cannot_be_used_keeps_the_last_good_keys_and_says_so_everywhere",
        ),
    ),
    Fault(
        "the audit disk is full, fails (EIO), or is slow",
        "503 within 1 s, no key in the body, recovers without a restart, `audit verify` passes",
        (
            f"{_DISK}a_full_disk_refuses_and_recovers_without_a_restart",
            f"{_DISK}a_disk_that_fails_with_input_output_errors_refuses_and_recovers",
            f"{_DISK}a_disk_that_hangs_refuses_within_a_second_and_recovers_when_it_answers",
            f"{_DISK}a_write_that_comes_up_short_leaves_no_part_of_a_record",
        ),
    ),
    Fault(
        "kill -9 in the middle of a write",
        "the torn tail is sealed by a recovery record; `audit verify` passes",
        (
            f"{_SURVIVES}a_write_that_a_kill_cut_short_is_sealed_at_the_next_start",
            f"{_SURVIVES}kills_under_load_lose_no_record_of_a_key_that_somebody_got",
        ),
    ),
    Fault(
        "SIGTERM under load; SIGHUP with a bad file",
        "drained; the old configuration stays",
        (
            f"{_JOB}sigterm_ends_with_0_after_what_is_under_way_and_takes_nothing_new",
            f"{_JOB}sigterm_ends_within_ten_seconds_though_sts_hangs",
            f"{_POLICY}a_good_file_is_in_force_at_once_and_a_bad_one_changes_nothing_but_the_alarm",
        ),
    ),
    Fault(
        "TLS certificate and key are replaced, once wrongly",
        "loaded into a scratch context first; the old ones stay in force until what lies there is good",
        (
            f"{_TLS}new_connections_see_the_new_certificate_and_old_ones_go_on",
            f"{_TLS}what_cannot_be_used_leaves_the_old_certificate_in_force_until_it_is_mended",
        ),
    ),
    Fault(
        "the wall clock jumps by two hours",
        "what we made ends by the wall clock and by its age since boot; `clock_jump` on record",
        (
            f"{_CLOCK}a_clock_set_ahead_and_back_gives_nobody_anything_and_is_recorded_counted_and_shown",
            f"{_CLOCK}two_hours_in_which_the_clock_was_set_back_by_two_are_two_hours",
        ),
    ),
    Fault(
        "a million good and a million bad requests",
        "memory flat after warm-up, descriptors flat",
        (
            "tests/e2e/test_soak.py::test_thousands_of_good_and_bad_requests_leave_nothing_behind",
            f"{_FLOODS}a_crowd_that_is_let_go_leaves_no_descriptor_behind",
            f"{_FLOODS}400_clients_on_256_descriptors_fill_no_log_and_keep_nobody_out",
        ),
    ),
    Fault(
        "1,000 principals after a restart",
        "calls to STS within the configured rate, a bounded queue, 503 overloaded beyond",
        (
            f"{_STS}a_thousand_principals_at_once_are_asked_for_within_the_rate_and_each_has_an_answer_in_time",
            "tests/unit/sts/test_budget.py::test_beyond_what_can_be_served_in_time_is_refused_at_once_and_the_rest_is_served",
        ),
    ),
)
