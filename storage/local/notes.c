/* Notes: small things that layers above keep, by key. */
#include "storage/local/page.h"
#include "storage/local/writer.h"

#include <stdlib.h>

enum {
    NOTE_KEY_MAX = 200,
    NOTE_VALUE_MAX = 4096,
    NOTE_FIXED = 2 /* version, flags */
};

/* meta: 'n' key */
static struct slice key_note(struct key *k, struct slice key)
{
    k->p[0] = 'n';
    memcpy(k->p + 1, key.p, key.n);
    k->n = key.n + 1;
    return key_slice(k);
}

enum apply apply_note_put(struct writer *w, struct slot *slot)
{
    struct store_note_put *n = (struct store_note_put *)slot->op;
    struct slice value = n->note.value;
    struct key k;
    if (n->note.key.n == 0 || n->note.key.n > NOTE_KEY_MAX || value.n > NOTE_VALUE_MAX ||
        batch_reserve(&w->batch, 1, KEY_MAX + NOTE_FIXED + value.n))
        return apply_end(slot, STORE_FATAL);
    struct slice key = key_note(&k, n->note.key);
    if (n->remove) {
        batch_delete(&w->batch, KV_META, key);
        return apply_changed(slot);
    }
    char *out = batch_put(&w->batch, KV_META, key, NOTE_FIXED + value.n);
    out[0] = RECORD_VERSION;
    out[1] = 0;
    if (value.n)
        memcpy(out + NOTE_FIXED, value.p, value.n);
    return apply_changed(slot);
}

/* Collects the page; slices are offsets into the arena. */
static int notes_collect(struct local *s, struct store_notes *n, struct buf *arena)
{
    struct key from, prefix_key, to;
    struct slice prefix = key_note(&prefix_key, n->prefix), start = n->cursor.n ? key_note(&from, n->cursor) : prefix;
    struct kv_iter *it = kv_iter_new(s->kv, KV_META, prefix, key_after_prefix(&to, prefix));
    if (!it)
        return ERR_NOMEM;
    kv_seek(it, start);
    if (n->cursor.n && kv_valid(it) && slice_eq(kv_key(it), start))
        kv_next(it);
    int r = 0;
    for (; !r && kv_valid(it); kv_next(it)) {
        struct slice key = kv_key(it), value = kv_value(it);
        if (n->n == n->limit) {
            n->more = true;
            break;
        }
        if (value.n < NOTE_FIXED || value.p[0] != RECORD_VERSION || key.n < 2) {
            record_bad("note", key);
            r = ERR_INVALID;
            break;
        }
        struct store_note *note = &n->notes[n->n++];
        note->key = (struct slice){(const char *)(uintptr_t)arena->n, key.n - 1};
        buf_put(arena, key.p + 1, key.n - 1);
        note->value = (struct slice){(const char *)(uintptr_t)arena->n, value.n - NOTE_FIXED};
        buf_put(arena, value.p + NOTE_FIXED, value.n - NOTE_FIXED);
        r = buf_ok(arena) ? 0 : ERR_NOMEM;
    }
    r = r ? r : kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

enum store_status read_notes(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_notes *n = (struct store_notes *)op;
    struct buf arena = BUF_INIT;
    n->arena = NULL;
    n->n = 0;
    n->more = false;
    n->notes = calloc(n->limit ? n->limit : 1, sizeof(*n->notes));
    if (!n->notes || n->prefix.n == 0 || n->prefix.n > NOTE_KEY_MAX || n->cursor.n > NOTE_KEY_MAX) {
        free(n->notes);
        n->notes = NULL;
        return STORE_FATAL;
    }
    int r = notes_collect(s, n, &arena);
    if (r) {
        free(n->notes);
        buf_free(&arena);
        n->notes = NULL;
        n->n = 0;
        n->more = false;
        return status_of(r);
    }
    n->arena = arena.p;
    for (uint32_t i = 0; i < n->n; i++) {
        n->notes[i].key.p = arena.p + (uintptr_t)n->notes[i].key.p;
        n->notes[i].value.p = arena.p + (uintptr_t)n->notes[i].value.p;
    }
    return STORE_OK;
}
