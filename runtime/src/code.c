/* SPDX-License-Identifier: MIT */
/* Memory for code that has been linked elsewhere: written once; the code is executable then and never writable again. */
#include <sys/mman.h>

#include "rt.h"

void *rt_code_reserve(size_t size)
{
	void *p = mmap(NULL, round_up(size, RT_PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* `size` bytes, of which those from `sealed` on stay data that can be written to. */
int rt_code_seal(void *code, const void *bytes, size_t size, size_t sealed)
{
	memcpy(code, bytes, size);
	return mprotect(code, round_up(sealed, RT_PAGE), PROT_READ | PROT_EXEC) ? -errno : 0;
}

void rt_code_free(void *code, size_t size)
{
	if (code)
		munmap(code, round_up(size, RT_PAGE));
}

/* What a compiler may call of its own accord: an address, NULL for any other name. */
void *rt_code_libc(const char *name)
{
	static const struct {
		const char *name;
		void *addr;
	} known[] = {
		{ "memcpy", memcpy }, { "memmove", memmove }, { "memset", memset }, { "memcmp", memcmp },
		{ "bcmp", memcmp },   { "strlen", strlen },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].name, name))
			return known[i].addr;
	return NULL;
}
