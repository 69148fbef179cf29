#include "core/hub/talk/member_news.h"

#include "core/base/frame.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/encode.h"
#include "core/hub/talk/publish.h"

#include <stdlib.h>

/* A user of whom the channel has told lately. */
struct teller {
    uint64_t user;    /* hash of the id */
    uint64_t told_ms; /* monotonic */
    char *texts;      /* id and name of what is held back; NULL: nothing; owned */
    uint8_t id_len, name_len;
    uint8_t change; /* enum member_change: of what is held back */
    bool in;        /* what was told: it is a member */
};

/* Of one channel with somebody who listens, while something was told lately. */
struct member_news {
    struct member_news *next; /* in shard.member_news */
    uint32_t conv;            /* which stays as long as this does */
    struct bucket bucket;     /* of changes that are told */
    uint32_t n, cap;
    struct teller *list; /* owned; so short that it is searched: the bucket bounds it */
};

/* --- What is said ------------------------------------------------------------------------------------------------- */

const char *member_change_name(enum member_change change)
{
    static const char *const names[] = {[MEMBER_LEFT] = "left",
                                        [MEMBER_KICKED] = "kicked",
                                        [MEMBER_BANNED] = "banned",
                                        [MEMBER_CLOSED] = "closed",
                                        [MEMBER_JOINED] = "joined"};
    return names[change];
}

static void encode_change(struct buf *b, struct slice channel, struct slice id, struct slice name,
                          enum member_change change, uint32_t members)
{
    buf_lit(b, "{\"channel\":");
    buf_json_string(b, channel);
    buf_lit(b, ",\"id\":");
    buf_json_string(b, id);
    buf_lit(b, ",\"name\":");
    buf_json_string(b, name.n ? name : id); /* one whose login is under way */
    buf_lit(b, ",\"change\":\"");
    buf_str(b, member_change_name(change));
    buf_lit(b, "\",\"members\":");
    buf_dec(b, members);
    buf_byte(b, '}');
}

void member_news_own(struct shard *s, uint32_t user, struct slice channel, enum member_change change, uint32_t members,
                     const struct req *r)
{
    const struct user *u = user_at(s, user);
    bool there = r && r->conn != NONE && conn_find(s->net, r->conn, r->generation);
    if (u->first_conn == NONE || (there && u->first_conn == r->conn && conn_at(s->net, r->conn)->user_next == NONE))
        return;
    struct buf b = BUF_INIT;
    encode_change(&b, channel, user_id(u), user_name(u), change, members);
    struct frame *f = buf_ok(&b) ? frame_new(PUSH_MEMBERSHIP, 0, buf_slice(&b), WIRE_TAG_NONE) : NULL;
    buf_free(&b);
    if (!f)
        return;
    user_push(s, user, f, there ? r->conn : NONE);
    frame_unref(f);
}

/* Publishes it, where the channel may still tell. */
static void publish(struct shard *s, struct member_news *n, enum member_change change, struct slice id,
                    struct slice name)
{
    const struct conv *v = conv_at(s, n->conv);
    if (v->tier != TIER_SMALL ||
        bucket_take_of(&n->bucket, MEMBER_NEWS_RATE, MEMBER_NEWS_BURST, (uint32_t)s->now_ms) != 0)
        return;
    struct buf b = BUF_INIT;
    encode_change(&b, conv_channel_name(conv_slice(v)), id, name, change, v->members);
    if (buf_ok(&b))
        conv_publish_members(s, n->conv, hash_bytes(id), buf_slice(&b));
    buf_free(&b);
}

/* --- Whom it has told of lately ----------------------------------------------------------------------------------- */

static struct member_news *news_get(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    if (v->news || !(v->news = calloc(1, sizeof *v->news)))
        return v->news;
    v->news->conv = conv;
    v->news->bucket.at = (uint32_t)s->now_ms;
    v->news->next = s->member_news;
    s->member_news = v->news;
    return v->news;
}

static void teller_forget(struct teller *t)
{
    free(t->texts);
    t->texts = NULL;
}

/* Holds back the newest state of a user. Without memory it is not told. */
static void teller_hold(struct teller *t, enum member_change change, struct slice id, struct slice name)
{
    teller_forget(t);
    if ((change == MEMBER_JOINED) == t->in || !(t->texts = malloc(id.n + name.n)))
        return; /* it is again as was told */
    memcpy(t->texts, id.p, id.n);
    if (name.n)
        memcpy(t->texts + id.n, name.p, name.n);
    t->id_len = (uint8_t)id.n;
    t->name_len = (uint8_t)name.n;
    t->change = (uint8_t)change;
}

static struct teller *teller_find(struct member_news *n, uint64_t user)
{
    for (uint32_t i = 0; i < n->n; i++)
        if (n->list[i].user == user)
            return &n->list[i];
    return NULL;
}

static bool teller_room(struct member_news *n)
{
    if (n->n < n->cap)
        return true;
    uint32_t cap = n->cap ? n->cap * 2 : 4;
    struct teller *list = realloc(n->list, cap * sizeof *list);
    if (!list)
        return false;
    n->list = list;
    n->cap = cap;
    return true;
}

void member_news_tell(struct shard *s, uint32_t conv, enum member_change change, struct slice id, struct slice name)
{
    const struct conv *v = conv_at(s, conv);
    /* A channel that is closed has no listeners left; each of its members hears of its own. */
    if (v->tier != TIER_SMALL || change == MEMBER_CLOSED || !conv_has(s, conv, INTEREST_EVENTS))
        return;
    struct member_news *n = news_get(s, conv);
    struct teller *t = n ? teller_find(n, hash_bytes(id)) : NULL;
    if (t) {
        teller_hold(t, change, id, name);
        return;
    }
    /* So many changes are told lately that this one would be left out anyway. */
    if (!n || n->n >= MEMBER_NEWS_BURST + MEMBER_NEWS_RATE * (MEMBER_NEWS_QUIET_MS / 1000) || !teller_room(n))
        return;
    n->list[n->n++] = (struct teller){.user = hash_bytes(id), .told_ms = s->now_ms, .in = change == MEMBER_JOINED};
    publish(s, n, change, id, name);
}

/* What is due of one channel; true: nothing is left. */
static bool news_due(struct shard *s, struct member_news *n)
{
    for (uint32_t i = 0; i < n->n;) {
        struct teller *t = &n->list[i];
        if (t->told_ms + MEMBER_NEWS_QUIET_MS > s->now_ms) {
            i++;
        } else if (t->texts) {
            struct slice id = slice_of(t->texts, t->id_len), name = slice_of(t->texts + t->id_len, t->name_len);
            t->told_ms = s->now_ms;
            t->in = t->change == MEMBER_JOINED;
            publish(s, n, (enum member_change)t->change, id, name);
            teller_forget(t);
            i++;
        } else {
            *t = n->list[--n->n];
        }
    }
    return n->n == 0;
}

static void news_free(struct member_news *n)
{
    for (uint32_t i = 0; i < n->n; i++)
        teller_forget(&n->list[i]);
    free(n->list);
    free(n);
}

void member_news_tick(struct shard *s)
{
    for (struct member_news **at = &s->member_news; *at;) {
        struct member_news *n = *at;
        if (!news_due(s, n)) {
            at = &n->next;
            continue;
        }
        uint32_t conv = n->conv;
        *at = n->next;
        conv_at(s, conv)->news = NULL;
        news_free(n);
        conv_release(s, conv);
    }
}

void member_news_free(struct shard *s, struct member_news *n)
{
    if (!n)
        return;
    struct member_news **at = &s->member_news;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    news_free(n);
}
