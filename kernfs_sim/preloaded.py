"""Skeleton of iterators, made by bpfjit gen skeleton: do not edit."""

# ruff: noqa
from __future__ import annotations

import ctypes
from typing import cast

from bpfjit.light import Light, Link, Map, Prog, Section, unpacked


class Rodata(ctypes.Structure):
    dump_bpf_map____fmt: bytes
    dump_bpf_map____fmt_1: bytes
    dump_bpf_prog____fmt: bytes
    dump_bpf_prog____fmt_2: bytes
    _pack_ = 1
    _fields_ = [
        ("dump_bpf_map____fmt", ctypes.c_char * 48),
        ("dump_bpf_map____fmt_1", ctypes.c_char * 26),
        ("dump_bpf_prog____fmt", ctypes.c_char * 32),
        ("dump_bpf_prog____fmt_2", ctypes.c_char * 17),
    ]


class IteratorsMaps:
    def __init__(self) -> None:
        self.rodata: Map[bytes, bytes] = Map("rodata", ctypes.c_uint8 * 4, ctypes.c_uint8 * 123, 1)


class IteratorsProgs:
    def __init__(self) -> None:
        self.dump_bpf_map: Prog = Prog("dump_bpf_map", "iter", "bpf_map", 28)
        self.dump_bpf_prog: Prog = Prog("dump_bpf_prog", "iter", "bpf_prog", 28)


class IteratorsLinks(dict[str, Link]):
    """Links by the names of their programs."""

    @property
    def dump_bpf_map(self) -> Link:
        return self["dump_bpf_map"]

    @property
    def dump_bpf_prog(self) -> Link:
        return self["dump_bpf_prog"]


class Iterators(Light):
    """iterators: set data and sizes, load() into a kernel, attach()."""

    FORMAT = 1
    NAME = "iterators"
    LINKS = IteratorsLinks
    INSNS = unpacked(
        "eNqVVr9PAjEU7oEEEhkOo3iD4c6KkcHBkZHRwUQXooMDHIOMEE2EuLiQODpo4uDApIxs5yQOmpi4uGj4O5wcba8H7b3+yHlJc9e+"
        "7733vdevhUkRhU/AXshpothzYcnrOc26Tec+n1cpbp19N/2chK+Q0Zrb85K9LNj7vi3ZHSF+QPgsgfzUI0izPAMyHsiYZJntLZu1"
        "YLwFmq8bxfbj600s11stifzXwvdKKi3hlgVcYMnxcyXG81jJ80e5L3OewnqnFI97VeL9EXE9gLsWcP2Wx+pIL0p+FBekCJbW21gI"
        "1w7JoCXVUSqcU/43ZGSQNZ93Y/VMpfqRpr9t0LcU8GtHffOUfftInMd243mKUEeuKc+zrAs37j911fvw67F+rkY6pScgYG0N8zyS"
        "8YXYuZhEujm3GI+6xc7TCWJzh6wPPB5735bz3Xn83Ir7MwK4GuBvr6v5XwKco8FdA5ynwY0B7kXEJTiPPVc8j/J9s+ua75s913zf"
        "HGj2ceTKOlPhapjtd8Gw31xXp5L/Pc3f5TrNgL7sRDodKXQqxhkSXLPAvlesuA4mHbbOefjK+191/zQw6MOGug9tgKuVNX0FuF0N"
        "7gngDjS4KeS3+T99DbFZXx1s1tcZNuurh9W8P3EyfY03mb6WEulrS/J/xWZ9HeFk+nrH/9FXUfLPa/QV9jWK2yo6Sl1ye0UZl9u3"
        "ker3f2b/Brxn/49ukZkX9EsaX1eHCZc34GZ9nvH9A/YQvAs="
    )
    DATA = unpacked(
        "eNqtWWtsHNUVvl47Xu/aa68N4RFeS3AgDokfieOaBFLWu2Nn8dq7zO46TqG9jL1jZ/G+srOb2ERUDoUqqFQqKlR9IGhFkcoPSn9E"
        "BaG2oSpqUSpQi/oDVNqGVogCVYXaIvhD03Pm3Nl57GxI2lqeOeee+zr3u+c7c3eGsXP/vXKVu/2J91vYZUK/spOub/XVqz0euLWg"
        "wlhbEORFcLWKSuzXBtet5nCeDoseEAr0D7Tj+GKskDC3kd7ST/auDSC/Q+O34dhPw+UTYzwDl1/M9bzQ1y1zTcLtRdI7YAnsJaF3"
        "we20mK9D9D/Soq+jrQz6F0HvFoPc12Ku52HQe8Uc3wYdIfkuXE8KHef6odDPwPVCC/mEC3lJ2G8F+arQ7wL5W7gQh3WQvzfGBPm+"
        "MSbIT4wxQV4KoF/CCPwrPYT3OsjrhP4iyBuFjqCNgo7bfCvoEaHvbzUx6jHx8uNe3ubRdS/e5kDfAu7h+hfJzo56aL8e9OgusMc8"
        "tPcnPYTTayBxz9730Lo2tNJgV4NErMdbaf9mWwmbFZC4N8dB4r48BhJj5MettAenQaKPfwKJ/v2zlfbA20aYXNVG8RcV8i6QF+N4"
        "IDeCfFbI19oIt7dBXgry4zbCKAjOXg5yAOQmkGGQV+DaN1BsHt5AmH0F5NUgnwJ5DchTGyhm3wB5Lci/gdwM8uwGijGdE+2koz++"
        "dlt8s0tEGbHsIEiZQSP0F33E9V7h6Dckxrzc5FEb4rqnnfzHvwnRBtcxKXRcS7zdFvMtc6IO13WH3Z82g6M45iN9dX7qMXOtJWZw"
        "r95pJ65eY2mD/P13u3uO6PXqcWXLEVtd8sJ1iJOXxr4e9AWvHiv3Y9sV0AdEn8NCh3lajgodYqTlAaGD+y2PCB38aHkc9O0CzydB"
        "32HkEK/gJVw/ETpy/ZegjwiunwZ9p3D0VS/htw3jS+g3wu110ls8Yg/f8eqxofPoQ68ATmz69R3Eo70dhE9KgL/SQTy6v4N49I0O"
        "4tGzHcSjlzuIR3/uIB591EE8CviIR/0+4tFeH/Eo6SMe5X3k03Ef8ehxH63zpz7aozd8xJ9/+CgOA37izTY/xeSkn3iT9xNvHvRT"
        "3D3hJ94876e9O+0n3rzpJ978y0+88XcS7ps7iTdjIG8W2Ex2EjZf6CRsap2EzcOdhM1TnYTNzzoJm9c7CZv3OgmbTzoJm4u6CJuB"
        "LsJmoouwuaOLsDnSRdg83EXYPN1F2Py8i7D5TRdh85cuwubDLsImECBstgQIm70Bwub2AGGzECBstABh86UAYfNogLD5XoCw+VGA"
        "sHklQNi8FyBsvN2ETX83YbOrm3JKspu4wEEirwrdxJ8aSOTFCZA3YHyCRG78opti/TWQGJvvgsS4/Lib4t7bQzG/EeQgrgfkEMhR"
        "kMMgp3so3hd7KNaPgdwF8usgRzEGQe4G+WuQYyD/CPIzIP8OchzHBxBvQn6B3IN7HCQiSEHiCM61X+g430zQlnuYNRcOilxoPUOg"
        "L88E9T1oO8HM5yD+vRAUz1m4fhU0+fy7oMnnVy3P7jNB89n9btB8dn8kdAzEDb0iX+G5oJf2Dp/Xm4V+AvThXsIGn9fhXsIFg7ee"
        "60Cf7hVnFNAzvWJej/lMPwMy20tYrsPqD/USni+CXhHtkQDrQg+1mZjstuTkjRas2iz6lEXf78B5t8AZ98NLZ73um+zHQls7jOsr"
        "RLu952iH8Twi2t1yjnbIt0nR7rMu7YxnIq7n86JdmJkPTlHFCn260nOMUewxsaabhUS/9+E5R/iGcXK3mL/Wp4/XgwNNWAa9t888"
        "E+H+GPqXLXa2UF7iuapa4Ry1glJmBbWqMFQWq6ssV6yybK1Qrtdi2yGjMLxnmA0dLVVWho5Wh/IlJatWtKEVtVJc0riWKwxllaoy"
        "hD2UaqmiDUK3wUXm06qV2mI1pKmH+VIur4a2gRa6JQTT7diHk+/YB4a9pme6Q2CCS9NypSLPZbHIi7UCq42NMs7xXitqueWimg3l"
        "S8Vl/QbujdRnEy6HtuHNmEwp72W+3FJo67WgDgjV7gfOMgAj7WQ+30Rykqek23lSjs2mJ7dC7fbQ5lAolw0VlYIasv4VlFWuFquV"
        "nKqFQou1ilG4s7h5gJaG+JXKGiBcxDUqZW4Az6trZZWtqGuA4T0qO6LkayqpllH1hupqtUJdlvLKMoyVZeCuwoulrMoWqkscB8HR"
        "EDIs01g2SyGfK9ZWHTW4HlZRlxZh+2uaWkF5tAK7gcrCWlnRYIPL6iI/MsKWKqV71KKxJo5rMnR9IYjaTDjJ0weTEs/MppJSxG7b"
        "H07tt1vCshw+aDcl5cSUq12SJ7k0J82mm9RGkhmXGUSFS5dUOhyZ5mk5HJHsFZEpOZFJunWJy25ToLXp/PHkDMwRk1zWzRO6JdUI"
        "kntNVJoD3bGIRGS6wQieNNjmU9OunRs9FstPpRNyeApnTcpSJJyWoudqZq+TpUxKSibktD5F8+06z6lcW9ub3J6RMpLL/jpM0+69"
        "CVmX3Uul5UwkzRPOrYC8MDWRmbQbY7OJqOQ+QTrcbOqJeCIxwydj8bQkOxiUkmT3iQCIJjCEZWk2DHlyJjzPrRWstmsnpk+419Mn"
        "ZvzFQ0oF7BSOqdjnJBqGM8jjhdzi2CiHNqVaEbIz0/QMjHcz8S6USnnGJ/A+vGecuSfOLaO10JYdI2OQILeMDGdDusjns5Ait0P+"
        "LO/Yl8sKBdORUC0pcLuR1LlWK3A1rxa47tRWTOaQZSH974LbbnYvc2/oePiVK6Vlpt/qTzy9VH/k6SXrAwUNoW36XTxSUDeeKagP"
        "MHNkZRnS9t0wWhbvvKIerqkalpbLeXCoUFaquYW8yrS8qpYV1PT8qa5CooVmXKlWlcVDlFTzkHH1oThqVWWZKbVVVhsZw+2Ee307"
        "tUOlSrXuhJmR9XzqTMmmEQkqpa0BaNZNgzohOTtE9ktRHomnXO3hSNph1xNsMgHx4KiYjyYdFjPFOyoM5k9PNKlICKabNfEDaSCk"
        "izGRSbtY52diaRdk6sy3mKeb+wF5JBaRGjvMpKYcRjl8oDkyllXxcDQqu/ibkqbG4olIOO6si8kRPgN5aGejF/Ws7KiajCcO8Ggs"
        "lZIikFOa+HIwFUnHz7kIfkCOpcMTcan5ahJJt+iAFOd01p52zQppvmHzUjONK4WcOp1xRhcuIRx3rmFWSovYN7NmvVank5WNWCvW"
        "E4OecJuSpVSqwS65m/UdjcgSPOKsdbZIo/hCCKTwDE+G5ZTgpb1iTpKjMUG2xuijmHNrhH6M8onYbNRpHXO1jvJIYnZWahxkrFnF"
        "KE8mUukmU7hWZaLJUYjo2ajBE9M+ZrM7otslcBvD1ToHnC7m3OZwsU9JaWvEGuParXrwEw2SFsMkZDD5oM0wL9ILOB+bPAgTpjMy"
        "ZScIYAi8iKV1zMjENlDBoaQkybPhGakR1nNUjhpLadrTVglZ2XrQbIheWYpL4ZTZ1nLWtBPPSO8ibK2haM1FAGlcam7nCZnPxKZk"
        "gzGORwQBRs8pPpOJp2N1TMlzGteeTkzK60NE5m00xrKFvjRDxjmDET2zsXk3Huh2t4hGu1sUor3JJhp1tm2CNUzH0njOmgmLUDNM"
        "krEwKzYpWE8sMdu4JKPCzH7hNByc91P+M5vPxaQDrDaOp45x89Chnx/h+DXMfHAsgbMRnj127AN974X9jKYkq2bNn836KUY/62hw"
        "+MEznfiNmuX4cxYLGvRZ4Vm1XD3ElmrFRd1YUZU8r5dE8sYe8Gs3q1XpiFZVcnASU/J5OJxBvX4GW82W+SFF40sV/IUtOuoD6T+S"
        "DTc0hu8/eDUHtiNqJbeUA3uuqBU1/JlNfuSKSyVT0x0pVnheNw/vGf3Uc/IW/NePxwAAHY91hY7Huur0T5iNFep7QB3ogDyGtxHb"
        "K55BzvlSoepmGxyxH40bmlqMg/DLIp9bVIuaygZXtLWCxgYrJXwjxAyz8QZI31gTIaWyPCxeQ+rvsY6J92XrlpeCxkslY0jrX5T9"
        "f/8u7A2PnzX7YeNn5w5ya099q/3n5x++G+y/gPXY3ucZ38uFtLyv1jEPWsp+sgWd7Yy/4KfMuya+xa9dL+SlNMpG79VU7hX2Xhop"
        "00L1p75Pdvx2eubs2bOnxHZftmAf/2QrvSs9Sd8y2QP4TRwu5fB2vXxs05mzKJ9rofenpyrUrkf4dWzbX/V65fCVov0HevnUYXO8"
        "9cvSR4/5Pz57vn4NC782Cb9CFr9OijaPCtnkRyqbSsbr43mNb6X4vQa/T4/TPhnl/nHiDZbfwu/MN9OLaCx78Jt9lDiF5QB+oIzT"
        "Nymj3Benb1NGuT1O36SwfCOUW5P0zQnLKn4nTdO3Hiy/jd9T7xQv6sX7aiNWOizloKj/g8EvR/utov0N4iX5KqPvXgp962UnRPlN"
        "Uf6BKL/VzuyvtB0xvkmMfcE80Z8N58+TTlpP0ND/Z570CZ54Ntt48pyXsFvbGvqveXObiM+QG2+OX9zAG9zeU/e582btvnFR/kCU"
        "Ce0ewbO1zc5+58+ju4WfvefBIytfbnDypezgS9nky07A85qqyZc5KLevO/jykMmPuwDu7hPEyTp/HqLYqPPnIYoBLFegfevXaA1Y"
        "/ioonkfoW2idP4+Rv/2fwp9+B3/6HfzB646gmYOs5XEHv5BP+G3yQRFX3xTlT0T5eVH2iH17WZQVN77pXPkPDPNFPg=="
    )

    def __init__(self) -> None:
        super().__init__()
        self.maps = IteratorsMaps()
        self.progs = IteratorsProgs()
        self._maps = (self.maps.rodata,)
        self._progs = (
            self.progs.dump_bpf_map,
            self.progs.dump_bpf_prog,
        )
        self._sections["rodata"] = Section(
            "rodata",
            Rodata,
            b"  id name             max_entries  cur_entries\n\x00%4u %-16s  %10d   %10lld\n\x00  id name             attached\n\x00%4u %-16s %s %s\n\x00",
            constant=True,
        )

    @property
    def rodata(self) -> Rodata:
        """The variables of .rodata."""
        return cast(Rodata, self._sections["rodata"].view)

    def attach(self) -> IteratorsLinks:
        return cast(IteratorsLinks, super().attach())

    @property
    def links(self) -> IteratorsLinks:
        return cast(IteratorsLinks, self._links)
