/* Memory of plugins: counted, shown, and freed when a plugin goes and leaves it behind. */
#include "core/plugin/memory.h"

#include "core/plugin/plugin_private.h"

#include <stdlib.h>

/* In front of what the plugin gets. */
struct block {
    _Alignas(max_align_t) struct block *next;
    struct block **at;
    size_t n; /* bytes that the plugin asked for */
};

static void block_link(struct mp_self *p, struct block *b)
{
    b->next = p->blocks;
    b->at = &p->blocks;
    if (b->next)
        b->next->at = &b->next;
    p->blocks = b;
    p->memory += b->n;
}

static void block_unlink(struct mp_self *p, struct block *b)
{
    *b->at = b->next;
    if (b->next)
        b->next->at = b->at;
    p->memory -= b->n;
}

void *memory_alloc(mp_self *p, void *at, size_t n)
{
    struct block *b = at ? (struct block *)at - 1 : NULL;
    if (n > SIZE_MAX / 2)
        return NULL;
    pthread_mutex_lock(&p->lock);
    if (b)
        block_unlink(p, b);
    struct block *fresh = n == 0 ? NULL : b ? realloc(b, sizeof *b + n) : calloc(1, sizeof *b + n);
    if (n == 0)
        free(b);
    else if (fresh) {
        fresh->n = n;
        block_link(p, fresh);
    } else if (b) {
        block_link(p, b);
    }
    pthread_mutex_unlock(&p->lock);
    return fresh ? fresh + 1 : NULL;
}

size_t memory_free_all(struct mp_self *p)
{
    size_t left = p->memory;
    while (p->blocks) {
        struct block *b = p->blocks;
        block_unlink(p, b);
        free(b);
    }
    return left;
}
