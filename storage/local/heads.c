/* Caches of the writer: see heads.h. */
#include "storage/local/heads.h"

#include "core/base/hash.h"

#include <stdlib.h>

int heads_init(struct heads *h)
{
    if (lru_init(&h->heads))
        return ERR_NOMEM;
    if (lru_init(&h->inboxes)) {
        lru_fini(&h->heads);
        return ERR_NOMEM;
    }
    return 0;
}

static void drop_all(struct lru *l)
{
    while (l->oldest) {
        struct lru_node *n = l->oldest;
        lru_remove(l, n);
        free(n); /* the node is the item's first member */
    }
}

void heads_drop(struct heads *h)
{
    drop_all(&h->heads);
    drop_all(&h->inboxes);
}

void heads_fini(struct heads *h)
{
    heads_drop(h);
    lru_fini(&h->heads);
    lru_fini(&h->inboxes);
}

/* A zeroed item of `size` bytes with the key behind it, added. */
static void *item_add(struct lru *l, size_t size, struct slice key)
{
    char *item = calloc(1, size + key.n);
    if (!item)
        return NULL;
    struct lru_node *n = (struct lru_node *)item;
    memcpy(item + size, key.p, key.n);
    n->key = slice_of(item + size, key.n);
    n->hash = hash_bytes(key);
    lru_add(l, n);
    return item;
}

struct head *heads_find(struct heads *h, struct slice conv)
{
    return (struct head *)lru_find(&h->heads, hash_bytes(conv), conv);
}

void heads_remove(struct heads *h, struct head *head)
{
    lru_remove(&h->heads, &head->node);
    free(head);
}

struct head *heads_add(struct heads *h, struct slice conv, uint64_t written, uint64_t synced)
{
    while (h->heads.count >= HEADS_MAX) {
        struct head *old = (struct head *)h->heads.oldest;
        if (old->pinned > written || old->sync_group > synced || old->reserve_group > synced)
            break; /* the cache may outgrow its bound for a moment */
        heads_remove(h, old);
    }
    return item_add(&h->heads, sizeof(struct head), conv);
}

struct inbox *inboxes_find(struct heads *h, struct slice user)
{
    return (struct inbox *)lru_find(&h->inboxes, hash_bytes(user), user);
}

struct inbox *inboxes_add(struct heads *h, struct slice user, uint64_t written)
{
    while (h->inboxes.count >= INBOXES_MAX && ((struct inbox *)h->inboxes.oldest)->group <= written)
        inboxes_remove(h, (struct inbox *)h->inboxes.oldest);
    return item_add(&h->inboxes, sizeof(struct inbox), user);
}

void inboxes_remove(struct heads *h, struct inbox *i)
{
    lru_remove(&h->inboxes, &i->node);
    free(i);
}
