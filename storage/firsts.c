/* What is known of conversations' oldest messages: see firsts.h. */
#include "storage/firsts.h"

#include "core/base/hash.h"
#include "storage/conv_key.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS 1024 /* 180 KB */
#define LOCKS 16

struct slot {
    struct first_known known;
    uint8_t n; /* bytes of key; 0: empty */
    char key[CONV_KEY_MAX];
};

struct firsts {
    pthread_mutex_t locks[LOCKS]; /* lock i guards the slots whose number is i modulo LOCKS */
    struct slot slots[SLOTS];
};

struct firsts *firsts_new(void)
{
    struct firsts *f = calloc(1, sizeof(*f));
    for (int i = 0; f && i < LOCKS; i++) {
        pthread_mutex_init(&f->locks[i], NULL);
    }
    return f;
}

void firsts_free(struct firsts *f)
{
    for (int i = 0; f && i < LOCKS; i++) {
        pthread_mutex_destroy(&f->locks[i]);
    }
    free(f);
}

bool firsts_get(struct firsts *f, struct slice conv, struct first_known *out)
{
    uint64_t at = hash_bytes(conv) % SLOTS;
    struct slot *slot = &f->slots[at];
    pthread_mutex_lock(&f->locks[at % LOCKS]);
    bool found = slot->n && slice_eq(slice_of(slot->key, slot->n), conv);
    if (found) {
        *out = slot->known;
    }
    pthread_mutex_unlock(&f->locks[at % LOCKS]);
    return found;
}

void firsts_put(struct firsts *f, struct slice conv, const struct first_known *known)
{
    uint64_t at = hash_bytes(conv) % SLOTS;
    struct slot *slot = &f->slots[at];
    if (!conv.n || conv.n > CONV_KEY_MAX) {
        return;
    }
    pthread_mutex_lock(&f->locks[at % LOCKS]);
    slot->known = *known;
    slot->n = (uint8_t)conv.n;
    memcpy(slot->key, conv.p, conv.n);
    pthread_mutex_unlock(&f->locks[at % LOCKS]);
}
