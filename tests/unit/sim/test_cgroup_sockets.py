"""Cgroup programs and the socket that they are asked about: ctx.sk, ctx.optval, the helpers of sockets, what comes of it."""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import System, call, load_prog

from bpfjit.errors import errno_name
from bpfjit.isa.encoding import Insn, encode
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.sockets import IPPROTO_TCP, TCP_CLOSE, TCP_ESTABLISHED, Endpoint, InetRow, Socket

ADDR = uapi.LAYOUTS["bpf_sock_addr"]
OPT = uapi.LAYOUTS["bpf_sockopt"]
SOCK = uapi.LAYOUTS["bpf_sock"]
OPS = uapi.LAYOUTS["bpf_sock_ops"]

PROGRAMS = """
#define SOL_SOCKET 1
#define SO_MARK 36
#define SO_SNDBUF 7
#define SO_RCVBUF 8

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} seen SEC(".maps");

__u64 out[16];

SEC("cgroup/connect4")
int look(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	out[0] = sk->family;
	out[1] = sk->src_ip4;
	out[2] = sk->src_port;
	out[3] = sk->dst_ip4;
	out[4] = sk->dst_port;
	out[5] = sk->state;
	out[6] = sk->protocol;
	out[7] = sk->type;
	out[8] = (unsigned int)sk->rx_queue_mapping;
	out[9] = bpf_get_socket_cookie(ctx);
	out[10] = bpf_get_netns_cookie(ctx);
	out[11] = ctx->family;
	out[12] = *(volatile __u8 *)&sk->family;
	return 1;
}

SEC("cgroup/connect4")
int count(struct bpf_sock_addr *ctx)
{
	__u64 *n = bpf_sk_storage_get(&seen, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!n)
		return 0;
	out[0] = ++*n;
	return *n <= 2;
}

SEC("cgroup/sock_create")
int created(struct bpf_sock *ctx)
{
	__u64 *n = bpf_sk_storage_get(&seen, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (n)
		*n = 40;
	return 1;
}

SEC("cgroup/connect4")
int options(struct bpf_sock_addr *ctx)
{
	int mark = 77, got = 0, size = 1000;

	out[0] = bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	out[1] = bpf_getsockopt(ctx, SOL_SOCKET, SO_MARK, &got, sizeof(got));
	out[2] = got;
	out[3] = bpf_setsockopt(ctx, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	bpf_getsockopt(ctx, SOL_SOCKET, SO_SNDBUF, &got, sizeof(got));
	out[4] = got;
	out[5] = bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, 2);
	out[6] = bpf_setsockopt(ctx, 6, 13, &mark, sizeof(mark));
	size = 10000;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	bpf_getsockopt(ctx, SOL_SOCKET, SO_RCVBUF, &got, sizeof(got));
	out[7] = got;
	return 1;
}

struct sockaddr_in4 {
	__u16 family, port;
	__u32 addr;
	__u64 pad;
};

SEC("cgroup/connect4")
int from_elsewhere(struct bpf_sock_addr *ctx)
{
	struct sockaddr_in4 sa = { 2, bpf_htons(4000), bpf_htonl(0x7f000005), 0 };

	out[0] = bpf_bind(ctx, (struct sockaddr *)&sa, sizeof(sa));
	out[1] = bpf_bind(ctx, (struct sockaddr *)&sa, 8);
	sa.family = 1;
	out[2] = bpf_bind(ctx, (struct sockaddr *)&sa, sizeof(sa));
	return 1;
}

SEC("cgroup/connect4")
int refuse(struct bpf_sock_addr *ctx)
{
	bpf_set_retval(-13);
	return 0;
}

SEC("cgroup/connect4")
int ask(struct bpf_sock_addr *ctx)
{
	out[0] = (int)bpf_get_retval();
	return 1;
}

SEC("cgroup/setsockopt")
int upper(struct bpf_sockopt *ctx)
{
	__u8 *value = ctx->optval, *end = ctx->optval_end;
	int mark = 0;

	out[0] = bpf_getsockopt(ctx->sk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	out[1] = mark;
	out[2] = end - value;
	if (value + 1 > end)
		return 0;
	out[3] = value[0];
	value[0] = 'X';
	ctx->optlen = 1;
	return 1;
}

SEC("cgroup/getsockopt")
int answer(struct bpf_sockopt *ctx)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(ctx->sk);

	out[0] = tcp ? tcp->snd_cwnd : 0;
	out[1] = (int)bpf_get_retval();
	out[2] = ctx->retval;
	ctx->retval = 0;
	return 1;
}

SEC("cgroup/sock_create")
int own(struct bpf_sock *ctx)
{
	out[0] = bpf_get_socket_cookie(ctx);
	out[1] = ctx->family;
	ctx->mark = 5;
	ctx->priority = 6;
	return 1;
}

SEC("cgroup/dev")
int not_here(struct bpf_cgroup_dev_ctx *ctx)
{
	bpf_set_retval(-13);
	out[0] = bpf_get_retval();
	return 0;
}

SEC("sockops")
int ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	out[0] = ctx->op;
	out[1] = ctx->local_port;
	out[2] = ctx->remote_port;
	out[3] = ctx->snd_cwnd;
	out[4] = bpf_sock_ops_cb_flags_set(ctx, 0x103);
	out[5] = ctx->bpf_sock_ops_cb_flags;
	out[6] = sk ? sk->src_port : 0;
	out[7] = ctx->is_fullsock;
	ctx->reply = 9;
	return 1;
}
"""
INET = """
#include <bpf/bpf_endian.h>
"""


def row(state: int = TCP_CLOSE, local: str = "127.0.0.1:0", remote: str = "192.0.2.7:443") -> InetRow:
    return InetRow(IPPROTO_TCP, Endpoint.parse(local), Endpoint.parse(remote), state, cwnd=17)


class World:
    """A kernel with cgroup /a and one socket; each program of PROGRAMS is attached there when it is named."""

    def __init__(self, kernel: Kernel, build: Callable[[str], Any]) -> None:
        self.kernel = kernel
        self.loaded = build(INET + PROGRAMS).load(kernel.bpf)
        self.cgroup = kernel.cgroups.create("/a")

    def socket(self, given: InetRow | None = None) -> Socket:
        return self.kernel.sockets.add(self.kernel.namespaces.net[""], given or row())

    def attach(self, name: str, attach_type: int) -> None:
        fd = self.kernel.caller.fds.install(self.kernel.open("/sys/fs/cgroup/a"))
        attr = uapi.ProgAttach(
            target_fd=fd,
            attach_bpf_fd=self.loaded.progs[name].fd,
            attach_type=attach_type,
            attach_flags=uapi.BPF_F_ALLOW_MULTI,
        )
        call(self.kernel.bpf, uapi.BPF_PROG_ATTACH, attr)
        self.kernel.bpf.close(fd)

    @property
    def out(self) -> tuple[int, ...]:
        bss = next(m for name, m in self.loaded.maps.items() if name.endswith(".bss"))
        return struct.unpack("<16q", bss.lookup(bytes(4)))

    def connect(self, socket: Socket, **more: Any) -> int:
        return self.kernel.run_cgroup(uapi.BPF_CGROUP_INET4_CONNECT, self.cgroup, bytearray(ADDR.size), sock=socket, **more)


@pytest.fixture(params=["jit", "interp"])
def world(request: pytest.FixtureRequest, build: Callable[[str], Any]) -> Iterator[World]:
    with Kernel(engine=request.param) as kernel:
        yield World(kernel, build)


CONNECT = uapi.BPF_CGROUP_INET4_CONNECT


def test_a_sockets_members_are_what_the_kernels_own_structure_says(world: World) -> None:
    world.attach("look", CONNECT)
    socket = world.socket(row(TCP_ESTABLISHED, "127.0.0.1:8080"))
    assert world.connect(socket) == 0
    ip = {a: int.from_bytes(ipaddress.ip_address(a).packed, "little") for a in ("127.0.0.1", "192.0.2.7")}
    port = int.from_bytes((443).to_bytes(2, "big"), "little")
    assert world.out[:9] == (2, ip["127.0.0.1"], 8080, ip["192.0.2.7"], port, TCP_ESTABLISHED, IPPROTO_TCP, 1, 0)
    assert world.out[11:13] == (2, 2)


def test_a_socket_has_its_cookie_for_life_and_no_other_has_it(world: World) -> None:
    world.attach("look", CONNECT)
    one, two = world.socket(), world.socket()
    cookies = []
    for socket in (one, two, one):
        world.connect(socket)
        cookies.append(world.out[9])
    assert cookies[0] == cookies[2] != cookies[1] and min(cookies) > 0
    assert world.out[10] == 1


def test_without_a_socket_pointers_read_as_zero(world: World) -> None:
    """No harm comes of an event that has none; Linux has no such event."""
    world.attach("ask", CONNECT)
    assert world.kernel.run_cgroup(CONNECT, world.cgroup, bytearray(ADDR.size)) == 0


def test_a_sockets_storage_goes_with_the_socket(world: World) -> None:
    world.attach("count", CONNECT)
    one, two = world.socket(), world.socket()
    assert [world.connect(one) for _ in range(3)] == [0, 0, -errno.EPERM]
    assert world.connect(two) == 0 and world.out[0] == 1
    world.kernel.sockets.remove(one)
    assert world.connect(world.socket()) == 0 and world.out[0] == 1


def test_a_program_of_sockets_keeps_values_with_its_context(world: World) -> None:
    world.attach("created", uapi.BPF_CGROUP_INET_SOCK_CREATE)
    world.attach("count", CONNECT)
    socket = world.socket()
    world.kernel.run_cgroup(uapi.BPF_CGROUP_INET_SOCK_CREATE, world.cgroup, bytearray(SOCK.size), sock=socket)
    world.connect(socket)
    assert world.out[0] == 41


def test_a_program_on_devices_says_which_error(world: World) -> None:
    world.attach("not_here", uapi.BPF_CGROUP_DEVICE)
    context = bytearray(uapi.LAYOUTS["bpf_cgroup_dev_ctx"].size)
    assert world.kernel.run_cgroup(uapi.BPF_CGROUP_DEVICE, world.cgroup, context) == -errno.EACCES
    assert world.out[0] == -errno.EACCES


def test_options_are_kept_by_the_socket(world: World) -> None:
    world.attach("options", CONNECT)
    assert world.connect(world.socket()) == 0
    assert world.out[:4] == (0, 0, 77, 0)
    assert world.out[4] == 4608  # twice what was wanted, and at least SOCK_MIN_SNDBUF
    assert world.out[5] == -errno.EINVAL and world.out[7] == 20000


def test_an_option_that_sockets_here_do_not_have_is_an_error(world: World) -> None:
    world.attach("options", CONNECT)
    world.connect(world.socket())
    assert world.out[6] == -errno.EOPNOTSUPP


def test_bind_gives_a_socket_its_address_once(world: World) -> None:
    world.attach("from_elsewhere", CONNECT)
    socket = world.socket(row(local="0.0.0.0:0"))
    assert world.connect(socket) == 0
    assert world.out[:3] == (0, -errno.EINVAL, -errno.EAFNOSUPPORT)
    common = socket.c.inet_conn.icsk_inet.sk
    assert getattr(common, "__sk_common").skc_num == 4000
    world.connect(socket)
    assert world.out[0] == -errno.EINVAL


def test_set_retval_is_what_comes_of_it(world: World) -> None:
    socket = world.socket()
    world.attach("refuse", CONNECT)
    assert world.connect(socket) == -errno.EACCES
    world.attach("ask", CONNECT)
    assert world.connect(socket) == -errno.EACCES and world.out[0] == -errno.EACCES
    assert world.connect(socket, retval=-errno.ENOENT) == -errno.EACCES


def test_setsockopt_sees_and_changes_the_value(world: World) -> None:
    world.attach("upper", uapi.BPF_CGROUP_SETSOCKOPT)
    ctx, value = bytearray(OPT.size), bytearray(b"abc")
    struct.pack_into("<i", ctx, OPT.fields["optlen"][0], 3)
    ret = world.kernel.run_cgroup(uapi.BPF_CGROUP_SETSOCKOPT, world.cgroup, ctx, sock=world.socket(), optval=value)
    assert ret == 0 and value == b"Xbc" and world.out[:4] == (0, 0, 3, ord("a"))
    assert struct.unpack_from("<i", ctx, OPT.fields["optlen"][0]) == (1,)
    assert not any(ctx[:24]), "no address leaves the kernel"
    assert (
        world.kernel.run_cgroup(uapi.BPF_CGROUP_SETSOCKOPT, world.cgroup, ctx, sock=world.socket(), optval=bytearray()) < 0
    )


def test_getsockopt_may_turn_an_error_into_an_answer(world: World) -> None:
    world.attach("answer", uapi.BPF_CGROUP_GETSOCKOPT)
    ctx = bytearray(OPT.size)
    struct.pack_into("<i", ctx, OPT.fields["retval"][0], -errno.ENOPROTOOPT)
    socket = world.socket(row(TCP_ESTABLISHED))
    assert world.kernel.run_cgroup(uapi.BPF_CGROUP_GETSOCKOPT, world.cgroup, ctx, sock=socket, optval=bytearray(4)) == 0
    assert world.out[0] == 17 and world.out[1] == -errno.ENOPROTOOPT


def test_a_program_on_sockets_that_are_made_writes_into_them(world: World) -> None:
    world.attach("own", uapi.BPF_CGROUP_INET_SOCK_CREATE)
    socket = world.socket()
    assert world.kernel.run_cgroup(uapi.BPF_CGROUP_INET_SOCK_CREATE, world.cgroup, bytearray(SOCK.size), sock=socket) == 0
    sk = socket.c.inet_conn.icsk_inet.sk
    assert (sk.sk_mark, sk.sk_priority) == (5, 6) and world.out[0] > 0 and world.out[1] == 2


def test_sock_ops_programs_see_the_connection(world: World) -> None:
    world.attach("ops", uapi.BPF_CGROUP_SOCK_OPS)
    ctx = bytearray(OPS.size)
    struct.pack_into("<I", ctx, OPS.fields["op"][0], 4)
    socket = world.socket(row(TCP_ESTABLISHED, "127.0.0.1:8080"))
    assert world.kernel.run_cgroup(uapi.BPF_CGROUP_SOCK_OPS, world.cgroup, ctx, sock=socket) == 0
    port = int.from_bytes((443).to_bytes(2, "big"), "little") << 16
    assert world.out[:8] == (4, 8080, port, 17, 0x100, 3, 8080, 1)
    assert struct.unpack_from("<I", ctx, OPS.fields["reply"][0]) == (9,)


def test_a_socket_where_there_is_none_is_an_error_of_the_caller(world: World) -> None:
    world.attach("ask", CONNECT)
    with pytest.raises(ValueError, match="optval"):
        world.connect(world.socket(), optval=bytearray(1))


# -- who may call what -----------------------------------------------------------------------------------

HELPERS = (46, 49, 57, 59, 64, 95, 96, 107, 108, 122, 128, 186, 187)
TYPES = {
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: (
        "INET4_BIND",
        "INET6_CONNECT",
        "INET4_GETPEERNAME",
        "UDP4_RECVMSG",
        "UNIX_SENDMSG",
    ),
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: ("GETSOCKOPT", "SETSOCKOPT"),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: ("INET_SOCK_CREATE", "INET4_POST_BIND"),
    uapi.BPF_PROG_TYPE_CGROUP_SKB: ("INET_EGRESS",),
    uapi.BPF_PROG_TYPE_SOCK_OPS: ("SOCK_OPS",),
    uapi.BPF_PROG_TYPE_CGROUP_SYSCTL: ("SYSCTL",),
}


def _verdicts(system: System) -> dict[tuple[int, str, int], str]:
    found = {}
    for prog_type, names in TYPES.items():
        for name in names:
            for helper in HELPERS:
                insns = encode([Insn(0x85, imm=helper), Insn(0xB7, 0, imm=1), Insn(0x95)])
                attach_type = getattr(uapi, f"BPF_CGROUP_{name}") if name not in ("SOCK_OPS", "SYSCTL") else 0
                try:
                    system.bpf.close(load_prog(system.bpf, insns, prog_type=prog_type, attach_type=attach_type))
                    found[prog_type, name, helper] = "done"
                except OSError as e:
                    found[prog_type, name, helper] = errno_name(e.errno or 0)
    return found


def test_each_attach_type_may_call_what_linux_lets_it() -> None:
    from systems import Simulated, live_or_skip

    live, simulated = live_or_skip(), Simulated(Kernel(engine="interp", cache=False))
    try:
        assert _verdicts(simulated) == _verdicts(live)
    finally:
        live.close()
        simulated.close()


def test_the_programs_here_load_on_linux_too(build: Callable[[str], Any]) -> None:
    from systems import live_or_skip

    live = live_or_skip()
    try:
        build(INET + PROGRAMS).load(live.bpf).close()
    finally:
        live.close()
