/*
 * Makes allocations of the main program fail: preloaded into magpied by test_attacks_memory.py, which shares the file
 * FAILALLOC with it. Only calls that come from the program's own code count; those of libev, RocksDB, cJSON and the C
 * library come from elsewhere.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SITES = 1024 };

/* What is shared with the test. */
struct control {
    _Atomic uint32_t armed;       /* calls are counted */
    _Atomic uint32_t skip;        /* of the target's calls so many go well first */
    _Atomic uint32_t times;       /* so many fail then */
    uint32_t spare;               /* for the next one's place */
    _Atomic uint64_t target;      /* the call site that fails, as an offset in the program; 0: none */
    _Atomic uint32_t fired;       /* calls that failed */
    _Atomic uint32_t sites;       /* known */
    _Atomic uint64_t site[SITES]; /* those that were seen while armed */
};

static struct control *control;
static uintptr_t begin, end, base; /* the program's code, and where it is loaded */
static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t),
    *(*real_aligned)(size_t, size_t);

static int program(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            begin = base + p->p_vaddr;
            end = begin + p->p_memsz;
        }
    }
    return 1; /* the first one is the program */
}

__attribute__((constructor)) static void setup(void)
{
    const char *path = getenv("FAILALLOC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    dl_iterate_phdr(program, NULL);
    if (p != MAP_FAILED)
        control = p;
}

static int fails(void *from)
{
    uintptr_t at = (uintptr_t)from;
    if (!control || !atomic_load(&control->armed) || at < begin || at >= end)
        return 0;
    uint64_t site = at - base;
    uint32_t n = atomic_load(&control->sites), i = 0;
    while (i < n && atomic_load(&control->site[i]) != site)
        i++;
    if (i == n && n < SITES) { /* two threads may enter it twice: harmless */
        i = atomic_fetch_add(&control->sites, 1);
        if (i < SITES)
            atomic_store(&control->site[i], site);
    }
    if (site != atomic_load(&control->target))
        return 0;
    if (atomic_load(&control->skip)) {
        atomic_fetch_sub(&control->skip, 1);
        return 0;
    }
    if (atomic_fetch_sub(&control->times, 1) <= 1)
        atomic_store(&control->target, 0);
    atomic_fetch_add(&control->fired, 1);
    errno = ENOMEM;
    return 1;
}

/* dlsym() itself may ask for a little before the real functions are known. */
static _Alignas(16) char early[4096];
static size_t early_used;

static void *early_alloc(size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (early_used + n > sizeof early)
        abort();
    early_used += n;
    return early + early_used - n;
}

static void find_real(void)
{
    static int busy;
    if (real_malloc || busy)
        return;
    busy = 1;
    real_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    real_aligned = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
}

void *malloc(size_t n)
{
    find_real();
    if (!real_malloc)
        return early_alloc(n);
    return fails(__builtin_return_address(0)) ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    find_real();
    if (!real_calloc)
        return early_alloc(n * size);
    return fails(__builtin_return_address(0)) ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    find_real();
    return fails(__builtin_return_address(0)) ? NULL : real_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    find_real();
    return fails(__builtin_return_address(0)) ? NULL : real_aligned(alignment, n);
}

char *strndup(const char *s, size_t max)
{
    find_real();
    size_t n = strnlen(s, max);
    char *copy = fails(__builtin_return_address(0)) ? NULL : real_malloc(n + 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *strdup(const char *s)
{
    find_real();
    size_t n = strlen(s);
    char *copy = fails(__builtin_return_address(0)) ? NULL : real_malloc(n + 1);
    if (copy)
        memcpy(copy, s, n + 1);
    return copy;
}
