"""Helpers on what lies in map values: spin locks and timers."""

from __future__ import annotations

from ..kinds import ANYTHING, CALLBACK, INTEGER, MAP_PTR, SPIN_LOCK, TIMER, VOID, Callback, Helper

ALL = frozenset({"all"})

TIMER_HELPERS = (
    Helper(
        93,
        "spin_lock",
        "long (*%s)(struct bpf_spin_lock *lock)",
        args=(SPIN_LOCK,),
        ret=VOID,
        symbol="rt_value_lock",
        groups=ALL,
    ),
    Helper(
        94,
        "spin_unlock",
        "long (*%s)(struct bpf_spin_lock *lock)",
        args=(SPIN_LOCK,),
        ret=VOID,
        symbol="rt_value_unlock",
        groups=ALL,
        under_lock=True,
    ),
    Helper(
        169,
        "timer_init",
        "long (*%s)(struct bpf_timer *timer, void *map, __u64 flags)",
        args=(TIMER, MAP_PTR, ANYTHING),
        ret=INTEGER,
        symbol="rt_timer_init",
        groups=ALL,
    ),
    Helper(
        170,
        "timer_set_callback",
        "long (*%s)(struct bpf_timer *timer, void *callback_fn)",
        args=(TIMER, CALLBACK),
        ret=INTEGER,
        symbol="rt_timer_set_callback",
        groups=ALL,
        callback=Callback.TIMER,
    ),
    Helper(
        171,
        "timer_start",
        "long (*%s)(struct bpf_timer *timer, __u64 nsecs, __u64 flags)",
        args=(TIMER, ANYTHING, ANYTHING),
        ret=INTEGER,
        symbol="rt_timer_start",
        groups=ALL,
    ),
    Helper(
        172,
        "timer_cancel",
        "long (*%s)(struct bpf_timer *timer)",
        args=(TIMER,),
        ret=INTEGER,
        symbol="rt_timer_cancel",
        groups=ALL,
    ),
)
