/* Reading a conversation: history pages and heads. */
#include "storage/local/range.h"

#include "storage/local/deleted.h"
#include "storage/local/hint.h"
#include "storage/local/page.h"
#include "storage/local/recent.h"

enum { FLOOR_WORTH = 64 }; /* expired rows passed over from which on the writer is told */

/* anew: from the database, whatever is known of it. */
static int head_look(struct local *s, struct slice conv, bool anew, struct head_record *out)
{
    struct key k;
    uint64_t ticket;
    *out = (struct head_record){0};
    if (!conv.n || conv.n > CONV_KEY_MAX)
        return ERR_INVALID;
    if (recent_head(s->recent, conv, out, &ticket) && !anew)
        return 1;
    struct kv_found f = kv_get(s->kv, KV_CHANNEL, key_head(&k, conv));
    int r = f.code;
    if (r == 1 && head_decode(f.value, out)) {
        record_bad("head", conv);
        r = ERR_INVALID;
    } else if (r == 1) {
        recent_put_head(s->recent, conv, out, ticket);
    }
    kv_found_free(s->kv, &f);
    return r;
}

int head_read(struct local *s, struct slice conv, struct head_record *out)
{
    return head_look(s, conv, false, out);
}

int first_read(struct msgs *m, uint64_t *first)
{
    struct recent_first known;
    if (recent_first(m->store->recent, m->conv, &known) && known.version == m->version && m->now_ms < known.until_ms &&
        known.seq > m->low[known.tier] && known.seq <= m->top) {
        *first = known.seq;
        return m->error;
    }
    uint32_t before = m->skipped;
    *first = msgs_first(m, &known.until_ms);
    if (!m->error && m->valid) {
        known.seq = *first;
        known.version = m->version;
        known.tier = (uint8_t)m->tier;
        recent_put_first(m->store->recent, m->conv, &known);
    }
    if (!m->error && *first && m->skipped - before > FLOOR_WORTH)
        hint_floor(m->store, m->conv, *first - 1);
    return m->error;
}

/* What a pair's user may read begins with this id's own time: `first` rises to the first message after `until`. Ids
 * ascend with seqs, so it is searched for in steps that halve. */
static int first_own(struct msgs *m, uint64_t until, uint64_t *first)
{
    uint64_t low = *first, high = m->top + 1;
    while (low < high && !m->error) {
        uint64_t middle = low + (high - low) / 2;
        msgs_up(m, middle);
        if (!m->valid || m->row->id > until)
            high = middle;
        else
            low = m->seq + 1;
    }
    msgs_up(m, low);
    *first = m->valid ? m->seq : m->top + 1;
    return m->error;
}

/* Adds the row that the walk stands on. False: the page is full. */
static bool range_add(struct store_range *r, struct msgs *m, struct page_builder *page)
{
    if (page->n == r->limit || page_is_full(page, m->row->content.n, r->page_bytes))
        return false;
    if (!page->n)
        page_expect(page, r->limit, m->row->sender.n + m->row->sender_name.n + m->row->content.n + 16);
    if (page_add_row(page, SLICE_NONE, m->seq, m->row)) {
        m->error = ERR_NOMEM;
        return false;
    }
    return true;
}

/*
 * The newest rows below `below`, walking up: that costs RocksDB half of what walking down does. Seqs tell where to
 * begin, as long as none of the last `limit` is missing and all fit by size. False: that is not so; the page is empty.
 */
static bool range_collect_up(struct store_range *r, struct msgs *m, struct page_builder *page, uint64_t below)
{
    uint64_t floor = r->has_after && r->after >= r->first ? r->after + 1 : r->first;
    if (below <= floor)
        return true;
    uint64_t from = below - floor > r->limit ? below - r->limit : floor;
    if (from > floor && floor > r->first)
        return false; /* whether something is left over, only the other walk tells */
    for (msgs_up(m, from); m->valid && m->seq < below; msgs_step(m)) {
        if (!range_add(r, m, page)) {
            page_reset(page);
            return m->error != 0;
        }
        if (m->seq + 1 == below)
            break; /* a step less */
    }
    if (!m->error && from > floor && page->n < r->limit) {
        page_reset(page);
        return false;
    }
    r->more = from > floor;
    return true;
}

/* Collects the page. more: something is left over in the direction asked. */
static int range_collect(struct store_range *r, struct msgs *m, struct page_builder *page)
{
    bool up = r->has_after && !r->has_before;
    uint64_t below = r->has_before && r->before <= m->top ? r->before : m->top + 1;
    if (up) {
        if (r->after == UINT64_MAX)
            return 0;
        msgs_up(m, r->after >= r->first ? r->after + 1 : r->first);
    } else if (range_collect_up(r, m, page, below)) {
        return m->error;
    } else {
        msgs_down(m, below);
    }
    for (; m->valid && m->seq >= r->first && (up || !r->has_after || m->seq > r->after); msgs_step(m)) {
        if (!range_add(r, m, page)) {
            r->more = true;
            break;
        }
    }
    if (!up)
        page_reverse(page);
    return m->error;
}

/* The writer has trimmed rows between the look at the head and the walk: the page would not begin with `first`, or be
 * empty although there was a message at any time. `last`: that of the look before; 0: there was none. */
static bool range_torn(const struct store_range *r, const struct page_builder *page, uint64_t last)
{
    bool up = r->has_after && !r->has_before, from_first = !r->has_after || r->after < r->first;
    if (r->first > r->last) /* all have ended, as far as this head knows */
        return r->last != last;
    if (!r->first || !from_first || (!up && r->more))
        return false;
    if (!page->n)
        return up || !r->has_before;
    return page->messages[0].seq > r->first;
}

static int range_once(struct reader *by, struct store_range *r, bool anew, struct page_builder *page)
{
    struct local *s = by->store;
    struct head_record head;
    struct msgs m;
    r->first = r->last = 0;
    r->more = false;
    uint64_t until = 0;
    int code = deleted_until(s, r->reader, &until);
    if (!code)
        code = head_look(s, r->conv, anew, &head);
    if (code > 0 && head.flags & HEAD_CLOSING)
        return ERR_NOTFOUND;
    if (code <= 0 || head.seq == 0)
        return code < 0 ? code : 0;
    r->last = head.seq;
    code = msgs_open(&m, s, &by->iters, r->conv, &head);
    if (!code)
        code = first_read(&m, &r->first);
    if (!code && until && r->first)
        code = first_own(&m, until, &r->first);
    if (!code)
        code = range_collect(r, &m, page);
    msgs_close(&m);
    return code;
}

enum store_status read_range(struct reader *by, struct store_op *op)
{
    enum { TRIES = 4 }; /* a trim comes once in many messages */
    struct store_range *r = (struct store_range *)op;
    struct page_builder page = {0};
    int code = range_once(by, r, false, &page);
    uint64_t last = 0;
    for (int i = 1; i < TRIES && !code && range_torn(r, &page, last); i++) {
        last = r->last;
        page_reset(&page);
        recent_changed(by->store->recent, r->conv);
        code = range_once(by, r, true, &page);
    }
    return status_of(deleted_names(by->store, page_finish(&page, code, &r->page), &r->page));
}

/* Looks four rows of the user family up: whether both users of a pair exist and whom they block. */
static int pair_read(struct local *s, struct store_conv_load *c)
{
    struct slice lo, hi, keys[4];
    struct key k[4];
    struct kv_found found[4];
    int r = 0;
    conv_pair_users(c->conv, &lo, &hi);
    keys[0] = key_user(&k[0], lo);
    keys[1] = key_user(&k[1], hi);
    keys[2] = key_block(&k[2], lo, hi);
    keys[3] = key_block(&k[3], hi, lo);
    kv_multi_get(s->kv, KV_USER, keys, 4, found);
    for (int i = 0; i < 4; i++) {
        if (found[i].code < 0)
            r = found[i].code;
        else
            *(i < 2 ? &c->user_exists[i] : &c->blocks[i - 2]) = found[i].code == 1;
        kv_found_free(s->kv, &found[i]);
    }
    return r;
}

enum store_status read_conv_load(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_conv_load *c = (struct store_conv_load *)op;
    struct head_record head;
    struct msgs m;
    int r = head_read(s, c->conv, &head);
    if (r < 0)
        return status_of(r);
    bool channel = conv_is_channel(c->conv);
    c->exists = channel ? (head.flags & (HEAD_CHANNEL | HEAD_CLOSING)) == HEAD_CHANNEL : head.seq > 0;
    c->seq = head.seq;
    c->last_id = head.last_id;
    c->members = head.members;
    c->tier = channel ? (head.flags & HEAD_CHANNEL ? (enum store_tier)head.tier : TIER_SMALL) : TIER_DM;
    c->first = 0;
    for (int i = 0; i < 2; i++)
        c->user_exists[i] = c->blocks[i] = false;
    r = msgs_open(&m, s, &by->iters, c->conv, &head);
    if (!r)
        r = first_read(&m, &c->first);
    msgs_close(&m);
    if (!r && !channel)
        r = pair_read(s, c);
    return status_of(r);
}
