/* What the model of Go's page heap asks of the kernel, without the model: 1 GiB is reserved in arenas of 64 MiB, mapped
 * in steps of 4 MiB, filled with objects of 8 KiB to 1 MiB (one byte is written to each 4 KiB), and given back in
 * ranges of 4 MiB with MADV_DONTNEED. Usage: page_heap BYTES */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, STEP = 4 << 20, ARENA = 64 << 20, SMALLEST = 8 << 10, LARGEST = 1 << 20 };

int main(int argc, char **argv)
{
	size_t total = argc > 1 ? strtoul(argv[1], NULL, 10) : 1UL << 30;
	char *base = (char *)0xc000000000UL;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	for (size_t at = 0; at < total; at += ARENA) {
		if (mmap(base + at, ARENA, PROT_NONE, flags, -1, 0) != base + at)
			return perror("mmap"), 1;
		for (size_t step = 0; step < ARENA; step += STEP)
			if (mmap(base + at + step, STEP, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0) == MAP_FAILED)
				return perror("mmap"), 1;
	}
	size_t at = 0, share = total / 8;
	for (size_t size = SMALLEST; size <= LARGEST; size *= 2)
		for (size_t end = at + share; at < end; at += size)
			for (size_t page = 0; page < size; page += PAGE)
				base[at + page] = 1;
	for (at = 0; at < total; at += STEP)
		if (madvise(base + at, STEP, MADV_DONTNEED))
			return perror("madvise"), 1;
	return 0;
}
