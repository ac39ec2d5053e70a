/* Counts the resident pages of a process by their flags, as the kernel's own `page-types -p PID` does: pagemap in
 * batches, then one read of /proc/kpageflags for each page that is present (tools/mm/page-types.c, walk_vma).
 * Usage: page_types PID */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 4096, TABLE = 1 << 14 };
#define PRESENT (1ULL << 63)
#define FRAME ((1ULL << 55) - 1)

static uint64_t combination[TABLE], count[TABLE];

static void add(uint64_t flags)
{
	size_t at = (flags ^ flags >> 14 ^ flags >> 28) % TABLE;

	while (count[at] && combination[at] != flags)
		at = (at + 1) % TABLE;
	combination[at] = flags;
	count[at]++;
}

static void walk(int pagemap, int kpageflags, uint64_t page, uint64_t end)
{
	static uint64_t entries[BATCH];
	uint64_t flags;

	while (page < end) {
		uint64_t batch = end - page < BATCH ? end - page : BATCH;
		ssize_t got = pread(pagemap, entries, batch * 8, page * 8);

		if (got <= 0)
			return;
		for (ssize_t i = 0; i < got / 8; i++) {
			uint64_t frame = entries[i] & FRAME;

			if (!(entries[i] & PRESENT) || !frame)
				continue;
			if (pread(kpageflags, &flags, 8, frame * 8) == 8)
				add(flags);
		}
		page += got / 8;
	}
}

static int opened(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	char path[64], line[8192];
	uint64_t start, end, total = 0, size = sysconf(_SC_PAGESIZE);
	int pid = argc == 2 ? atoi(argv[1]) : 0;

	if (pid <= 0)
		return fprintf(stderr, "usage: page_types PID\n"), 2;
	snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
	int pagemap = opened(path), kpageflags = opened("/proc/kpageflags");
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	if (!maps)
		return perror(path), 1;
	while (fgets(line, sizeof line, maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && !(start >> 63))
			walk(pagemap, kpageflags, start / size, end / size);
	for (size_t at = 0; at < TABLE; at++)
		if (count[at]) {
			printf("0x%016" PRIx64 " %10" PRIu64 "\n", combination[at], count[at]);
			total += count[at];
		}
	printf("total %" PRIu64 "\n", total);
	return 0;
}
