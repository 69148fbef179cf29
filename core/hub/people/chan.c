#include "core/hub/people/chan.h"

#include "core/hub/people/user.h"

#include <stdlib.h>

static uint64_t chan_hash(void *ctx, uint32_t index)
{
    return hash_bytes(chan_name(chan_at(ctx, index)));
}

static bool chan_matches(void *ctx, uint32_t index, const void *key)
{
    return slice_eq(chan_name(chan_at(ctx, index)), *(const struct slice *)key);
}

int chans_init(struct shard *s)
{
    pool_init(&s->chans, (sizeof(struct chan) + 7) & ~7u, 64);
    s->begun = s->walks = (struct walks){NONE, NONE};
    return table_init(&s->chan_names, 8, chan_hash, chan_matches, s);
}

void chans_fini(struct shard *s)
{
    for (uint32_t i = pool_next(&s->chans, 0); i != POOL_NONE; i = pool_next(&s->chans, i + 1)) {
        struct chan *ch = chan_at(s, i);
        free(ch->members);
        free(ch->name);
    }
    table_fini(&s->chan_names);
    pool_fini(&s->chans);
}

uint32_t chan_find(const struct shard *s, struct slice name)
{
    return table_find(&s->chan_names, hash_bytes(name), &name);
}

uint32_t chan_get(struct shard *s, struct slice name)
{
    uint32_t i = chan_find(s, name);
    if (i != TABLE_NONE)
        return i;
    i = pool_alloc(&s->chans);
    if (i == POOL_NONE)
        return NONE;
    struct chan *ch = chan_at(s, i);
    ch->name = malloc(name.n);
    if (!ch->name)
        goto fail;
    memcpy(ch->name, name.p, name.n);
    ch->name_len = (uint8_t)name.n;
    ch->queue_tail = &ch->queue;
    ch->board_tail = &ch->board;
    ch->next_walk = NONE;
    struct conv_key key = conv_key_channel(name);
    ch->owner = shard_of(s->hub, conv_key_slice(&key));
    if (table_add(&s->chan_names, hash_bytes(name), i) != 0)
        goto fail;
    atomic_store_explicit(&s->chan_count, s->chan_names.count, memory_order_relaxed);
    return i;
fail:
    free(ch->name);
    pool_free(&s->chans, i);
    return NONE;
}

void chan_release(struct shard *s, uint32_t chan)
{
    struct chan *ch = chan_at(s, chan);
    if (ch->member_count || ch->pending || ch->in_walks)
        return;
    table_remove(&s->chan_names, hash_bytes(chan_name(ch)), chan);
    free(ch->members);
    free(ch->name);
    pool_free(&s->chans, chan);
    atomic_store_explicit(&s->chan_count, s->chan_names.count, memory_order_relaxed);
}

int chan_add_member(struct shard *s, uint32_t chan, uint32_t sub, uint32_t conn_word)
{
    struct chan *ch = chan_at(s, chan);
    struct sub *b = pool_at(&s->subs, sub);
    if (ch->member_count == ch->member_cap) {
        uint32_t cap = ch->member_cap < 4 ? ch->member_cap + 1 : ch->member_cap + ch->member_cap / 4;
        struct member *p = realloc(ch->members, cap * sizeof *p);
        if (!p)
            return ERR_NOMEM;
        ch->members = p;
        ch->member_cap = cap;
    }
    b->pos = ch->member_count & MEMBER_POS;
    ch->members[ch->member_count++] =
        (struct member){.conn = conn_word, .sub = sub & MEMBER_TOMBSTONE, .push = b->push};
    ch->by_push[b->push]++;
    ch->by_events += b->events;
    unsigned wanted = 1u << b->push | (b->events ? INTEREST_EVENTS : 0);
    if (s->events->modes_changed(s, chan) || (ch->posted & wanted) == wanted)
        return 0;
    /* A member that the owner does not know of would hear nothing. */
    ch->by_push[b->push]--;
    ch->by_events -= b->events;
    ch->member_count--;
    return ERR_NOMEM;
}

void chan_count_events(struct shard *s, uint32_t chan, bool before, bool after)
{
    struct chan *ch = chan_at(s, chan);
    ch->by_events += (uint32_t)after - (uint32_t)before;
}

void chan_count_mode(struct shard *s, uint32_t chan, unsigned before, unsigned after)
{
    struct chan *ch = chan_at(s, chan);
    ch->by_push[before]--;
    ch->by_push[after]++;
    s->events->modes_changed(s, chan);
}

static void fill_hole(struct shard *s, struct chan *ch, uint32_t pos)
{
    struct member last = ch->members[--ch->member_count];
    if (pos != ch->member_count) {
        ch->members[pos] = last;
        if (last.sub != MEMBER_TOMBSTONE)
            ((struct sub *)pool_at(&s->subs, last.sub))->pos = pos & MEMBER_POS;
    }
}

static void shrink(struct chan *ch)
{
    if (ch->member_cap > 64 && ch->member_count < ch->member_cap / 4) {
        struct member *p = realloc(ch->members, (ch->member_count + 1) * sizeof *p);
        if (p) {
            ch->members = p;
            ch->member_cap = ch->member_count + 1;
        }
    }
}

void chan_remove_member(struct shard *s, uint32_t chan, uint32_t pos)
{
    struct chan *ch = chan_at(s, chan);
    ch->by_push[ch->members[pos].push]--;
    if (ch->board) {
        ch->members[pos].sub = MEMBER_TOMBSTONE;
        ch->members[pos].conn = NONE;
        ch->tombstones++;
    } else {
        fill_hole(s, ch, pos);
        shrink(ch);
    }
    s->events->modes_changed(s, chan);
    chan_release(s, chan);
}

void chan_compact(struct shard *s, struct chan *ch)
{
    for (uint32_t i = 0; ch->tombstones && i < ch->member_count;) {
        if (ch->members[i].sub == MEMBER_TOMBSTONE) {
            ch->tombstones--;
            fill_hole(s, ch, i);
        } else {
            i++;
        }
    }
    shrink(ch);
}
