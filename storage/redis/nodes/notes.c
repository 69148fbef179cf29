/* The copy of all notes: see notes.h. */
#include "storage/redis/nodes/notes.h"

#include "storage/redis/redis_private.h"

#include <stdlib.h>

uint32_t notes_find(const struct notes *ns, struct slice key)
{
    uint32_t low = 0, high = ns->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (slice_cmp(note_key(ns->list[mid]), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct note *note_new(struct slice key, struct slice value)
{
    struct note *n = malloc(sizeof *n + key.n + value.n);
    if (n) {
        n->key_n = (uint16_t)key.n;
        n->value_n = (uint32_t)value.n;
        memcpy(n->text, key.p, key.n);
        if (value.n)
            memcpy(n->text + key.n, value.p, value.n);
    }
    return n;
}

static bool notes_room(struct notes *ns)
{
    if (ns->n < ns->cap)
        return true;
    uint32_t cap = ns->cap ? ns->cap * 2 : 64;
    struct note **list = realloc(ns->list, cap * sizeof *list);
    if (list) {
        ns->list = list;
        ns->cap = cap;
    }
    return list != NULL;
}

bool notes_set(struct notes *ns, struct slice key, struct slice value)
{
    uint32_t at = notes_find(ns, key);
    bool there = at < ns->n && slice_eq(note_key(ns->list[at]), key);
    struct note *n = there || notes_room(ns) ? note_new(key, value) : NULL;
    if (!n)
        return false;
    if (there) {
        free(ns->list[at]);
    } else {
        memmove(&ns->list[at + 1], &ns->list[at], (ns->n - at) * sizeof *ns->list);
        ns->n++;
    }
    ns->list[at] = n;
    return true;
}

bool notes_add(struct notes *ns, struct slice key, struct slice value)
{
    struct note *n = notes_room(ns) ? note_new(key, value) : NULL;
    if (!n)
        return false;
    n->came = ns->n;
    ns->list[ns->n++] = n;
    return true;
}

static int note_cmp(const void *a, const void *b)
{
    const struct note *x = *(struct note *const *)a, *y = *(struct note *const *)b;
    int order = slice_cmp(note_key(x), note_key(y));
    return order ? order : x->came < y->came ? -1 : x->came > y->came;
}

void notes_sort(struct notes *ns)
{
    uint32_t n = 0;
    if (ns->n)
        qsort(ns->list, ns->n, sizeof *ns->list, note_cmp);
    for (uint32_t i = 0; i < ns->n; i++) {
        if (n && slice_eq(note_key(ns->list[n - 1]), note_key(ns->list[i])))
            free(ns->list[--n]);
        ns->list[n++] = ns->list[i];
    }
    ns->n = n;
}

void notes_remove(struct notes *ns, struct slice key)
{
    uint32_t at = notes_find(ns, key);
    if (at == ns->n || !slice_eq(note_key(ns->list[at]), key))
        return;
    free(ns->list[at]);
    memmove(&ns->list[at], &ns->list[at + 1], (ns->n - at - 1) * sizeof *ns->list);
    ns->n--;
}

void notes_free(struct notes *ns)
{
    for (uint32_t i = 0; i < ns->n; i++)
        free(ns->list[i]);
    free(ns->list);
    *ns = (struct notes){.n = 0};
}

int notes_init(struct redis *r)
{
    r->notes = calloc(1, sizeof *r->notes);
    return r->notes ? 0 : ERR_NOMEM;
}

void notes_fini(struct redis *r)
{
    if (r->notes)
        notes_free(r->notes);
    free(r->notes);
    r->notes = NULL;
}
