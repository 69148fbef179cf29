#include "core/hub/shard/why.h"

#include "core/base/clock.h"
#include "core/hub/shard/shard.h"

#include <stdlib.h>

struct ring {
    struct why_note *notes; /* `size` of them; owned */
    uint32_t size;
    uint64_t written; /* ever */
};

struct why {
    struct ring notes, skips;
    uint64_t ms, wall_ms; /* the wall clock at the loop's iteration `ms`, so that it is asked once a turn */
};

/* Zeroed memory of this size comes from the system untouched: notes that were never made cost nothing. */
static struct why *why_new(void)
{
    struct why *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->notes = (struct ring){calloc(WHY_NOTES, sizeof *w->notes.notes), WHY_NOTES, 0};
    w->skips = (struct ring){calloc(WHY_SKIPS, sizeof *w->skips.notes), WHY_SKIPS, 0};
    if (w->notes.notes && w->skips.notes)
        return w;
    free(w->notes.notes);
    free(w->skips.notes);
    free(w);
    return NULL;
}

void why_free(struct shard *s)
{
    if (!s->why)
        return;
    free(s->why->notes.notes);
    free(s->why->skips.notes);
    free(s->why);
    s->why = NULL;
}

uint64_t why_channel(struct slice name)
{
    struct conv_key key = conv_key_channel(name);
    return hash_bytes(conv_key_slice(&key));
}

void why_note(struct shard *s, const struct why_note *n)
{
    if (!s->why && !(s->why = why_new()))
        return;
    struct why *w = s->why;
    if (w->ms != s->now_ms || !w->wall_ms) {
        w->ms = s->now_ms;
        w->wall_ms = clock_wall_ms();
    }
    struct ring *r = n->kind == WHY_SKIPPED ? &w->skips : &w->notes;
    struct why_note *to = &r->notes[r->written++ % r->size];
    *to = *n;
    to->at_ms = w->wall_ms;
}

static bool fits(const struct why_note *n, const struct why_note *like)
{
    if (n->kind != like->kind || (like->conv && n->conv != like->conv) || (like->user && n->user != like->user))
        return false;
    if (like->id && n->id != like->id && !(n->bits & WHY_B_UP_TO && n->id >= like->id))
        return false;
    if (like->seq && (like->seq < n->seq || like->seq > (n->to ? n->to : n->seq)))
        return false;
    return !like->mask || n->mask & like->mask;
}

bool why_find(const struct shard *s, const struct why_note *like, struct why_note *out)
{
    if (!s->why)
        return false;
    const struct ring *r = like->kind == WHY_SKIPPED ? &s->why->skips : &s->why->notes;
    uint64_t n = r->written < r->size ? r->written : r->size;
    for (uint64_t i = 1; i <= n; i++) {
        const struct why_note *note = &r->notes[(r->written - i) % r->size];
        if (fits(note, like)) {
            *out = *note;
            return true;
        }
    }
    return false;
}

uint64_t why_since(const struct shard *s)
{
    const struct ring *r = s->why ? &s->why->notes : NULL;
    if (!r || r->written == 0)
        return 0;
    return r->notes[r->written < r->size ? 0 : r->written % r->size].at_ms;
}
