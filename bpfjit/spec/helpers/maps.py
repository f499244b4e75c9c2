"""Helpers on maps, and those that call back into the program."""

from __future__ import annotations

from ..kinds import (
    ANYTHING,
    CALLBACK,
    INTEGER,
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    MAP_VALUE_OR_NULL,
    STACK_OR_NULL,
    Callback,
    Helper,
)

ALL = frozenset({"all"})

MAP_HELPERS = (
    Helper(
        1,
        "map_lookup_elem",
        "void *(*%s)(void *map, const void *key)",
        args=(MAP_PTR, MAP_KEY),
        ret=MAP_VALUE_OR_NULL,
        symbol="rt_map_lookup_elem",
        groups=ALL,
        inline="map_lookup",
    ),
    Helper(
        2,
        "map_update_elem",
        "long (*%s)(void *map, const void *key, const void *value, __u64 flags)",
        args=(MAP_PTR, MAP_KEY, MAP_VALUE, ANYTHING),
        ret=INTEGER,
        symbol="rt_map_update_elem",
        groups=ALL,
        writes_map=True,
    ),
    Helper(
        3,
        "map_delete_elem",
        "long (*%s)(void *map, const void *key)",
        args=(MAP_PTR, MAP_KEY),
        ret=INTEGER,
        symbol="rt_map_delete_elem",
        groups=ALL,
        writes_map=True,
    ),
    Helper(
        164,
        "for_each_map_elem",
        "long (*%s)(void *map, void *callback_fn, void *callback_ctx, __u64 flags)",
        args=(MAP_PTR, CALLBACK, STACK_OR_NULL, ANYTHING),
        ret=INTEGER,
        symbol="rt_for_each_map_elem",
        groups=ALL,
        callback=Callback.MAP_ELEM,
    ),
    Helper(
        181,
        "loop",
        "long (*%s)(__u32 nr_loops, void *callback_fn, void *callback_ctx, __u64 flags)",
        args=(ANYTHING, CALLBACK, STACK_OR_NULL, ANYTHING),
        ret=INTEGER,
        symbol="rt_loop",
        groups=ALL,
        callback=Callback.LOOP,
    ),
    Helper(
        195,
        "map_lookup_percpu_elem",
        "void *(*%s)(void *map, const void *key, __u32 cpu)",
        args=(MAP_PTR, MAP_KEY, ANYTHING),
        ret=MAP_VALUE_OR_NULL,
        symbol="rt_map_lookup_percpu_elem",
        groups=ALL,
        per_cpu=True,
    ),
)
