/* What readers know of conversations: see recent.h. */
#include "storage/local/recent.h"

#include "core/base/hash.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    SLOTS = 1024, /* 300 KB */
    LOCKS = 16
};

struct place {
    uint64_t changes; /* times that a head of any conversation with this place was changed */
    struct head_record head;
    struct recent_first first;
    bool has_head, has_first;
    uint8_t n; /* bytes of key; 0: empty */
    char key[CONV_KEY_MAX];
};

struct recent {
    pthread_mutex_t locks[LOCKS]; /* lock i guards the places whose number is i modulo LOCKS */
    struct place places[SLOTS];
};

struct recent *recent_new(void)
{
    struct recent *r = calloc(1, sizeof(*r));
    for (int i = 0; r && i < LOCKS; i++)
        pthread_mutex_init(&r->locks[i], NULL);
    return r;
}

void recent_free(struct recent *r)
{
    for (int i = 0; r && i < LOCKS; i++)
        pthread_mutex_destroy(&r->locks[i]);
    free(r);
}

/* The conversation's place, locked. */
static struct place *place_lock(struct recent *r, struct slice conv)
{
    struct place *p = &r->places[hash_bytes(conv) % SLOTS];
    pthread_mutex_lock(&r->locks[(p - r->places) % LOCKS]);
    return p;
}

static void place_unlock(struct recent *r, struct place *p)
{
    pthread_mutex_unlock(&r->locks[(p - r->places) % LOCKS]);
}

static bool place_is(const struct place *p, struct slice conv)
{
    return p->n && slice_eq(slice_of(p->key, p->n), conv);
}

/* Makes the place this conversation's. False: there is no such conversation. */
static bool place_take(struct place *p, struct slice conv)
{
    if (!conv.n || conv.n > CONV_KEY_MAX)
        return false;
    if (!place_is(p, conv)) {
        p->has_head = p->has_first = false;
        p->n = (uint8_t)conv.n;
        memcpy(p->key, conv.p, conv.n);
    }
    return true;
}

bool recent_head(struct recent *r, struct slice conv, struct head_record *out, uint64_t *ticket)
{
    struct place *p = place_lock(r, conv);
    bool known = p->has_head && place_is(p, conv);
    if (known)
        *out = p->head;
    *ticket = p->changes;
    place_unlock(r, p);
    return known;
}

void recent_put_head(struct recent *r, struct slice conv, const struct head_record *head, uint64_t ticket)
{
    struct place *p = place_lock(r, conv);
    if (p->changes == ticket && place_take(p, conv)) {
        p->head = *head;
        p->has_head = true;
    }
    place_unlock(r, p);
}

void recent_changed(struct recent *r, struct slice conv)
{
    struct place *p = place_lock(r, conv);
    p->changes++;
    if (p->has_head && place_is(p, conv))
        p->has_head = false;
    place_unlock(r, p);
}

void recent_clear(struct recent *r)
{
    for (int i = 0; i < SLOTS; i++) {
        struct place *p = &r->places[i];
        pthread_mutex_lock(&r->locks[i % LOCKS]);
        p->changes++;
        p->has_head = p->has_first = false;
        pthread_mutex_unlock(&r->locks[i % LOCKS]);
    }
}

bool recent_first(struct recent *r, struct slice conv, struct recent_first *out)
{
    struct place *p = place_lock(r, conv);
    bool known = p->has_first && place_is(p, conv);
    if (known)
        *out = p->first;
    place_unlock(r, p);
    return known;
}

void recent_put_first(struct recent *r, struct slice conv, const struct recent_first *first)
{
    struct place *p = place_lock(r, conv);
    if (place_take(p, conv)) {
        p->first = *first;
        p->has_first = true;
    }
    place_unlock(r, p);
}
