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
        "eNqVVi1MAzEU7m0sI2FiLGFMIHbdCgsgkBMIJA5FQCC2m2ByCyRAMBgS5AQkE4gpmMTdFENAQoLBQCaRCARBIWmvt7X3+pPjkuau"
        "fd9773uvX7sN8yh4fP5ChTqKPKeOuj5tWM+yuSfmVYZz+Xfdm1bwFToaE3tGsZcl+4mXVewFKb5P+eRAfubhJ3meczpu6Bimue0p"
        "nXZgvCmWrx3G9qLrdazWW3Nl/gvBey6RVHDrEs531PhrLue5p+X5o92XCU9pvetG4965oj8yrgdwAwl30ijyOpIzih/D+QmKZfXW"
        "poK1HTpYSdsoEcwZ/0s6UsiZzNuRekZK/cjQ3w7oWwL4dcK+FbV9e4mdp4qjefJQx9iW517VBQZ5S/p9KJZ5P+dDnbIT4PO2Bnlu"
        "6XhD/FwMQ90cOZzHtsPP0z7i8wJdPy+K2FtZNd9DSZxbeX/6ANcE/KtlPf8+wG0YcAOA2zTgRgD3KeNinMcels+jet+0sP2+OcT2"
        "++YY63m/YlVnOlyT8P2etey30NWB4v/I8reFTlOgL7uhTvsancpxnimuPsu/55yoDoYtvi54eNr7X3f/XJAon8qivg8dgOtXDH0F"
        "uDsD7gPgBgYcWozimsv/09czseurS+z6uiZ2ffWInvcviaev7grXVy6WvpYU/y9i19cZiaevb/IffeUV/4xBX0Ffw7iNfEGrS2Gv"
        "aOMK+yrS/f6P7e+A9/j/0RWy84J+ceOb6rDhMhbcuM9jvn/6R8KS"
    )
    DATA = unpacked(
        "eNqtOmtsW+d1H6kXKYl6uk7iOCntRp4sy3rEiqLIsVKKupIYUSLDhx+ru9tr8VJiTFEUH7FUN4PTdY3bFY2XYQj6AJa22ZaiA7Zh"
        "7joURW10HpYG2eBhwZYNWON1j3oIiqZrfmQrWu+c75zL++Cl4w4leO95fK/zndf33ftdIW7/+0nQnf97b3nE3Yxvd9K1uqtW7PXC"
        "zYOIEM09APvhauJCbNcM1wfN7rw+C97FCLQPtALcy32xKJ5mwj0PEL+zBeAXqP9mQyY/w6/C1cFjXWb8gtl/C477Lbja7dPzxuB2"
        "lXAfTE1cYzwAt1e5uY/7/ZhHzq+5CPgnAO/mTi56zHm+AHgfj/0i1RcvonyM41iXGb+BtIdkRSFfZf4HAb7O+EcA/iNcqJ8LAP/V"
        "6BPgj40+ATZ5uU/A7wP8LkFG2Q/XPdgW4EHGrwIcZxyVOQ34/Tgu4BHGF5tMHfWY+mrvhVvcK/E2vJ0GfADEw/nniC+e9pIdn/NK"
        "EcSXveQT3/SSnt4AiLb8sZfm1dFEnT0AEHU900R2TTWRvbaaSEfPAkQbfRkg2udbANGHrjeRLf4DIMr6PwBRzkAz2eIDzaSbxxlm"
        "AaILPwvwfQC/zvANgLsBvtVM+vt5M/nw7hbS1SjAPQAXAN6Lc28hnz0H8D6Av91CuvsawPcD/KsW8uU3Ae4D+N8A9wNsaSUfQxn8"
        "jOP43a02vxd7mUZd+kilwgiv3RxfON99jnYPcZ97TP9vlj7cSnLjb5HroPxRxnEOiVabz3tOcxnOR7PL02zELvb5a7tojobP7Lf4"
        "DNroh60Uw5Y04x3A/NDmnjvuAv4BR+446JIvMDfsbaO+fwXw9TbpK58YRL8BfIjbnGMcxvE8zTj4iOe3GAc/8XyecZDD8xLgh1mf"
        "XwV8hGX5dhvHJVzfYRxj/TXAH+RYvw74ERb09TbS3yH0L8aH4fY9wj1etuEP26RvyDj6KZWJHjb6sI/iKOQj/Zxi5W/5KI4+7aM4"
        "+qKP4ujrPoqjv/VRHN30URz9zEdx1O+nOBryUxyF/BRHx/0URyU/yfSsn+LoJT/F0V/6ab5v+il+3vVT3PS3kz+OtVPcRNvJN0vt"
        "FDfPtVPc/H47+d+328l219spbr7fTnHzv+0UNz0dpPfBDvKpRwE+yrqJdpBuMh2km/MdpJsXOkg3X+sg3VzrIN18r4N083YH6aap"
        "k3RzTyfpZrSTdLPYSbrROkk3H+sk3bzQSbr5407SzV93km7+oZN081+dpJufdpJu+gOkm0MB0k0oQLo5ESDdrAdINzsB0s2nAqSb"
        "LwRIN38YIN38eYB08/cB0s3bAdJNoIt0M9RFunmki3LKcYAfAKh3UUyUu2ReFue7KI4+CxDj4w8AYmx8FyDG0xtd5PM/Aog++nOA"
        "6J+BbvL/e7vJ9w8BHAU4DXAM4BMAxzHnd5PfP9NNPv85gBPogwAfAvh3ACcB/jvAhwG+A3AK+wclPgLwAMBptHEPBcISLTY+HGOF"
        "cRwn2WPLPcKaC0c5F1r3FijDn/VIGzRfFOY6iL+rPbzOwvU3PWY8/3OPGc+vW9bu/+wx1+4f9Zhr988YR0fs6OV8BfiuXrIZrteD"
        "jOMeYbKXdILr9UIv6QOdt5brAH+il/cugH+ol8f1mmv6DYBP9pIOL8DsC72kx6uAb3N9DIBPMh5sNnUyacnJuy26arbg0xb8MUFj"
        "Qfw043gaOPpRLsz2yZiUOsz30bxQbxXAZ1hX232sT8t+5kWP2b91H3bMgmOfz/TRGoN2/Uwf+Sb+nu8j/0N3+DzjWOfFPoo7jI2X"
        "Gcd+/pRxtO83GUc5v8M42ne4n9Yg9J/pfuLjL9xv9rnUT/tOzA0pS50PW+rgL2RZs3Cbg7o9Y6mP68ou+x5U+vAkzwPn86Y0ouia"
        "vU09zBk/4Xpzt6mHcvlpwK7529TDXHY/11t0qbfbsp9/iOs9LsxNCRcJZZdEus+j/rgA56QwlPsn3IuxbBH0MR5/eZfsrxs7WrJ0"
        "mt5l7jfFmWJWzVX0kqoitqEVxYZe0QQiq5VtkStURKa6UayVYt1RgxibHhOj5zZLZ0fPVUYrWmlNr5RHz+qlQraslnMboxmtoo1i"
        "C62yWSqPQLORVeEvV0rV1UqwrG+p2VxeDw4BFjwWhOEOz+Dgh2eAcdSUTApU1svl3GZBzWUENixUNxCK6uSEUFW8Vwvl3FpBzwTz"
        "m4U1eUPxQMCx6fHamCx4cAhvxpBa8ajw57LBwX2AHmTULg2OdxB6elD4/bPxeTWpPKHGE5GV1PwglA4H9weDuUywoG3oQetvQ9tW"
        "9UKllNPLweBqtWQQpwv7D9IEUYubxTLouYAz1YqqoX61slPUxVl9BzT5UV08peWrOqGWXmVFfbtSoibZvLYGfWUEiKuphc2MLs5U"
        "sip2gr2h8pCmvmycjXyuUN12lOB8REnProITVMt6CeG5EtgEkTM7Ra0MZi7qq+pT4yJb2vyoXjDmpOKcDFxOBLW2HIqrqVNxRU2v"
        "JONK2M5bDCUX7ZxQIhE6ZWfFE7EFV76SmFeV48pKqkFpOJ52GYELXJokU6HwkppKhMKKvSC8kIil425Nogm3IZDbcPxofBnGiCgu"
        "81ZjkpOsV5J7yZxyHHDHJGLhpTomSFLHO5lccm1cLzFPP5mKJUILOGo8oYRDKWXudtXsZQklnVTisURKDtHYXHc4lGtte5Un0kpa"
        "cbGvg7Xk3po062K9ZCqRDqfUmNMUkBcWZtPzdmZkJTanuA+QCjUaejYaiy2r85FoSkk4IiipJNwHAkU0UEMooayEIFsuh06q1gJR"
        "PfIgJlG415Io5v3Vda0EfHLHZORXFepGFZDNN3KrkxMq1NmsFiBHi7LMw3g30++Zzc28UGfxPjY9JdwT58BENThweHwSEuTA+Fgm"
        "KEE+n4EUOQz5s3h4JpdhBNMRo5YUOGwkdbVc3VD1vL6hSqEGMZlDloX0fwRuD4mnhXtFxxJYLG2uCXmrrXuSqi18krIuKMgIDsk7"
        "LymIG2sK4geF2bO2Bmn7Segtg3e1pG9V9TJSa8U8CLRR1Cq5M3ldlPO6XtQQk/lT34ZEC9VUrVLRVtcpqeYh48quVMQq2prQqtui"
        "Oj6J5oR7zZzl9c1SpSaEmZFlPnWmZJOJAaqkrA5oli0BOqs4G4QXlTk1HE268kPhlIMvE2w8Bv7gKDg5F3dwzBTvKDAif2m2QUGM"
        "I90siZ5IQUC6MGPplAv35HIk5aKZWuRb2EuN5YA8Egkr9Q2WkwsOZiJ0orFmLLNSQ3NzCRd5k8rCZDQWDkWdZZFEWF2GPPRgvRS1"
        "rOwomo/GTqhzkWRSCUNOaSDLqWQ4Fb3tJNQTiUgqNBtVGs8mFnfzDkhxTmHtadcsUE7WGS+5XD9TyKlLaad34RRCUeccVpQU+76Z"
        "NWulMpys0YilPJ8ItITbQkJJJuv4ijtbWjScUGCJs5bZPI38C1WghJbVeCiR5Li0FxxXEnMRDrZ67yOfc6uEckyos5GVOSd30pU7"
        "oYZjKytKfSeTjQom1HgsmWowhGtRei4+AR69MmfEicmftPEd3u3iuPXuah0DdhfH3cZw4S8oKavHGv3audL5KQziFsY8ZLDEKRvj"
        "JKcXED4yfwoGTKUTlJ3AgcHxwpbaESMT25QKAsUVJbESWlbq1XqbwgljKg1b2gohK1s3mnXem1CiSihp1rXsNe2BZ6R3dlurK1pz"
        "Eag0qjTmq7GEuhxZSBgR41giSGG0TqnL6WgqUtMpSU792tOJGfKyi/BJWxgjbQlfGiHtHMHwnpXISbc4kHw3j0a+mxciv4ERjTKb"
        "mWAOS5EU7rOWQ+xqBksxJmbVTRLmE4mt1E/JKDCzXygFG+dFyn9m9eMR5YSoTuGuY8rcdMj9I2y/xoQftiWwN8K9x+EZwI/+Yo/R"
        "lGT1jPnYLHcxcq9Ths0P7un4GTWj4uMsEmVoc1bN6MXKushWC6uSWdK1vFqjOHljC3jazZQrtEWraDnYiWn5PGzOoFzuwbYzRXVd"
        "K6vZEj5hc0PZkXxINsQow/ZXy6iVHPCe0ku5bA74uUK5UMbHbJIjV8humpgUpFBS85I9Nj3xnvvkAfzL7TEogLbH59Y387qUZBB4"
        "B7nEKSWzjXlKS9CumrbJD5u72ko2OIS3Y9QE0KPWQrneBYfk/VhwzNjqQgm+JIGNJ9zG8TYl8BWQ3MGWwSKlXAG0t54p4YyJib2t"
        "61oGniE2tLXcKqoNX/QIepcBdWlvi68kNrNZQpADvUkGQqT97BdndDRbRsXXUHp+8AA2GA7ii5PN7CASoJ4DMOrhGSnAh2QwxRL4"
        "XBqaQ/UNB2vGGQ7yq5CDH2bHMy2IVjUl4vcoch+AGpUlsp58ZeOXPn0saB+MRDOqwwj+kl6plgoUAQcOEHw0KKUFTYzwXIOPEYsV"
        "GjxEFaeDNYOiPY9MP2x7dTeiqmp2o+LGGxm3P+zUVbUwR+BZMZ9b1QtlXYycLe9slMVIaVOa2WAbb/aEVlobM19O47vH8/yO84Ll"
        "JbnxgtDoxvpbFr/c3y/2nq5dNHo8bRe3T1XWljJg2+9Mvj18BnunP9u7Wf7tZWg5v5E6t3x3IM/oPMzyufTb8x7j7vQxPMDwLurl"
        "fW33E93L/F7qKe2h8isvEb8N7H/j1q1bV9jcd5+x93+5id5vX24h+jfh+nU8M9kalvT5PTduIfyGh84HrpSoXjfLdX7opizXtvZy"
        "/bclfWXL7O/C3alz59vfvXWnco2xXHtYrqBFrstc53cZNnjVIBbi0Vp/fCwt8FyijOcFU2Qng35giuIG6R/Add+jdHiAtA+/YZmj"
        "mEK6Hw/so3RGa9B9UTqrNejWKJ3RIj2O37jE6QwW6bNQ0Zuis0+k38LvC06bsTtj8Sm8/sXiJ1j+b0Z8OeoPcv3DfLCxLej8d62V"
        "v/Vh+vtMv8z0D1qF/XjC4eNog/j/J07kCn/ncXIvzUey+n8ZcdLHceJ9wB4ng8H3jJdXGvjl4+yXQbd4eWYX+/8r0s93PkUq/Abb"
        "4/we8v80H2ohH81+5ePOeLpO7T8+xfQbTA+S3PuDjvo3bt2p/E+y/L13EFcoH/rQld9g+dgoOy+wvr7E40G9mzDeZS/ZF/vb4vYY"
        "MztfofxgtLe2e4fbNVvaaV96R9Zf81AMdt9V3+5dy3hXyqYdtiz63vnKuw3Hvek6Lsm52/Ma5bPnKf/N7HuV9P98j03vhv1axHdl"
        "uTXfDDrzzcuOfPOymW+mIDm9/4/MfHMa6Na/cOSba2a+yYIYXVft+abvGuW4Wv65RusO0ttQv+kVih+kfweM732Nvv1AuguQe4p0"
        "tov0ITz7rtA3IEgvAN16gb5BsLYftOav1+mbC6RfhfpHLlION+hHLtJZv5WettAjFymPGbT3IuF4rYH9/J8RYtFBR5j+LNBdlyg2"
        "DXrfJTqHNWg/0FELPXaJ9jsGPXWJ7DXwHvl3wJF/Bxz5F79L0XrMNcyaj/HsHr/teI7z0CWm/exPf8J0gunrTJ9g+gbTRj6/6Rgv"
        "7qHy01x/3UM6NuS9BPRjFtrnpfXckB+/jcT6/8Tx8hGmDfmLXrt8tvVC5vr/A9hFWrU="
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
