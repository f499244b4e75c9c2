/* SPDX-License-Identifier: MIT */
/* What iterators walk, while it comes and goes: objects by number, symbols; and statistics that several flush at once. */
#include "iter.h"
#include "stress.h"

/* -- objects by number: whoever finds one within a held CPU finds it whole -- */

#define NUMBERS 257

struct numbered {
	u64 number, twice;
};

static struct rt_index *numbers;

static void come_and_go(struct worker *w)
{
	u64 number = draw(w) % NUMBERS;
	struct numbered *gone, *made;

	if (number % 2 != (u64)w->index) /* each of the two has its own half */
		return;
	gone = rt_index_find(numbers, number);
	if (gone) {
		CHECK(!rt_index_remove(numbers, number), "remove");
		rt_kobj_free_rcu(w->k, gone, sizeof(*gone));
		return;
	}
	made = rt_kobj_alloc(w->k, sizeof(*made));
	CHECK(made, "no memory");
	*made = (struct numbered){ number, 2 * number };
	CHECK(!rt_index_add(numbers, number, made), "add");
}

static void walk(struct worker *w)
{
	struct rt_cpu *cpu = rt_enter(w->k);
	u64 at = 0, before = 0;
	u32 hint = 0;

	for (struct numbered *n; (n = rt_index_from(numbers, &at, &hint)); before = at++)
		CHECK(n->number == at && n->twice == 2 * at && (!before || at > before), "object %llu", (unsigned long long)at);
	rt_leave(cpu);
}

static void *walker(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++)
		if (w->index < 2)
			come_and_go(w);
		else
			walk(w);
	return NULL;
}

void test_walk(struct rt_kernel *k)
{
	u64 done;

	numbers = rt_index_new(k);
	done = race(k, NULL, THREADS, walker);
	rt_index_free(numbers);
	printf("walk: %llu rounds\n", (unsigned long long)done);
}

/* -- symbols of programs that are loaded and unloaded while formats name addresses -- */

static void *namer(void *arg)
{
	struct worker *w = arg;
	u64 own = 0x1000000ULL * (w->index + 1);
	char text[64];

	for (; going(); w->done++) {
		char name[16];

		snprintf(name, sizeof(name), "prog_%d", w->index);
		struct rt_ksym *s = rt_ksym_add(w->k, own, 0x100, name);

		CHECK(s, "no memory");
		for (int i = 0; i < THREADS; i++) {
			u64 addr = 0x1000000ULL * (i + 1) + 0x10, args[] = { addr };
			s64 n = rt_format(w->k, text, sizeof(text), "%pS", 4, args, 1);
			char with[32], without[32];

			snprintf(with, sizeof(with), "prog_%d+0x10/0x100", i);
			snprintf(without, sizeof(without), "0x%llx", (unsigned long long)addr);
			text[n] = 0;
			CHECK(!strcmp(text, with) || (i != w->index && !strcmp(text, without)), "%s", text);
		}
		rt_ksym_remove(w->k, s);
	}
	return NULL;
}

void test_symbols(struct rt_kernel *k)
{
	printf("symbols: %llu rounds\n", (unsigned long long)race(k, NULL, THREADS, namer));
}

/* -- statistics: one flush at a time, children before parents, and nothing that was new is left -- */

#define GROUPS 7

void rt_css_rstat_updated(struct cgroup_subsys_state *css, u64 on);
void rt_css_rstat_flush(struct cgroup_subsys_state *top);

static struct cgroup groups[GROUPS]; /* 0 above 1 and 2, those above 3, 4 and 5, 6 */
static u32 flushing;
static u64 flushed;

static u64 flush_one(void *ctx)
{
	const u64 *args = ctx;

	CHECK(!__atomic_exchange_n(&flushing, 1, __ATOMIC_ACQUIRE), "two flushes at once");
	CHECK(args[0], "no cgroup");
	flushed++;
	__atomic_store_n(&flushing, 0, __ATOMIC_RELEASE);
	return 0;
}

static void *update_and_flush(void *arg)
{
	struct worker *w = arg;

	for (; going(); w->done++) {
		struct rt_cpu *cpu = rt_enter(w->k);

		rt_css_rstat_updated(&groups[draw(w) % GROUPS].self, draw(w) % 3);
		if (!(w->done % 8))
			rt_css_rstat_flush(&groups[draw(w) % GROUPS].self);
		rt_leave(cpu);
	}
	return NULL;
}

void test_rstat(struct rt_kernel *k)
{
	struct rt_tracepoint *hook = rt_tracepoint_new(k);
	u64 done;

	for (int i = 0; i < GROUPS; i++) {
		struct cgroup_subsys_state *css = &groups[i].self, *up = i ? &groups[(i - 1) / 2].self : NULL;

		css->cgroup = &groups[i];
		css->parent = up;
		css->children.next = css->children.prev = &css->children;
		css->rstat_cpu = calloc(3, sizeof(*css->rstat_cpu));
		CHECK(css->rstat_cpu, "no memory");
		if (up) {
			css->sibling.prev = up->children.prev;
			css->sibling.next = &up->children;
			up->children.prev->next = &css->sibling;
			up->children.prev = &css->sibling;
		}
	}
	CHECK(!rt_tracepoint_attach(hook, flush_one, NULL), "attach");
	rt_kernel_rstat_hook(k, hook, NULL);
	done = race(k, NULL, THREADS, update_and_flush);
	struct rt_cpu *cpu = rt_enter(k);

	rt_css_rstat_flush(&groups[0].self);
	rt_leave(cpu);
	for (int i = 0; i < GROUPS; i++) {
		for (int c = 0; c < 3; c++)
			CHECK(!groups[i].self.rstat_cpu[c].owner, "cgroup %d has something new yet", i);
		free(groups[i].self.rstat_cpu);
	}
	rt_kernel_rstat_hook(k, NULL, NULL);
	CHECK(!rt_tracepoint_detach(hook, flush_one), "detach");
	rt_tracepoint_free(hook);
	printf("rstat: %llu rounds, %llu flushed\n", (unsigned long long)done, (unsigned long long)flushed);
}
