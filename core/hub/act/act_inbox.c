/* Actions 7 fetch inbox, 8 acknowledge inbox. */
#include "core/base/json.h"
#include "core/base/push.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/page.h"
#include "core/hub/people/field.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/why.h"

#include <cjson/cJSON.h>

struct fetch {
    struct req r;
    struct store_inbox_peek op;
    char id[64];
};

static void fetched(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct fetch *q = OP_END(owner, op, struct fetch, op.op);
    if (op->status != STORE_OK) {
        req_fail_read(&q->r, op->status, "");
    } else {
        bool cut = page_encode(&q->r.body, &q->op.page, SLICE_NONE, true, s->opt->page_max);
        buf_str(&q->r.body, q->op.more || cut ? ",\"more\":true}" : ",\"more\":false}");
    }
    store_page_free(&q->op.page);
    req_done(s, &q->r);
}

static void handle_fetch(struct call *c)
{
    struct shard *s = c->shard;
    uint64_t after = 0;
    bool has;
    uint32_t limit;
    if (!call_get_message_id(c, "after", &has, &after) || !call_get_limit(c, &limit))
        return;
    struct fetch *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct slice id = call_user_id(c);
    memcpy(q->id, id.p, id.n);
    q->op = (struct store_inbox_peek){
        .user = slice_of(q->id, id.n), .after = after, .limit = limit, .page_bytes = s->opt->page_max};
    op_begin(s, &q->op.op, fetched);
    store_inbox_peek(s->store, &q->op);
}

struct ack {
    struct req r;
    struct store_inbox_ack op;
    char id[64];
    uint64_t ids[]; /* op.id_count */
};

static void ack_after(struct req *r)
{
    struct ack *q = (struct ack *)r;
    if (r->code != CODE_OK || !q->op.removed)
        return;
    struct why_note n = {.kind = WHY_ACKED, .id = q->op.up_to, .user = hash_bytes(q->op.user), .bits = WHY_B_UP_TO};
    if (q->op.up_to)
        why_note(r->home, &n);
    n.bits = 0;
    for (uint32_t i = 0; i < q->op.id_count; i++) {
        n.id = q->ids[i];
        why_note(r->home, &n);
    }
    struct buf *b = &r->home->scratch;
    buf_reset(b);
    buf_printf(b, "{\"inbox\":%u}", q->op.remaining);
    push_others(r, PUSH_READ_ELSEWHERE, b);
}

static void acked(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct ack *q = OP_END(owner, op, struct ack, op.op);
    if (op->status != STORE_OK)
        req_fail_store(&q->r, op->status, "");
    else
        buf_printf(&q->r.body, "{\"removed\":%u,\"inbox\":%u}", q->op.removed, q->op.remaining);
    req_done(s, &q->r);
}

static bool get_ids(const struct cJSON *list, uint64_t *out)
{
    const struct cJSON *item;
    uint32_t n = 0;
    cJSON_ArrayForEach(item, list)
    {
        uint64_t id;
        if (!cJSON_IsString(item) || !value_message_id(slice_str(item->valuestring), &id))
            return false;
        if (out)
            out[n++] = id;
    }
    return true;
}

static void handle_ack(struct call *c)
{
    struct shard *s = c->shard;
    uint64_t up_to = 0;
    bool has_up_to;
    const struct cJSON *list = NULL;
    if (!call_get_message_id(c, "upTo", &has_up_to, &up_to))
        return;
    int has_ids = json_get_array(c->body, "ids", &list);
    if (has_ids < 0 || (has_ids && !get_ids(list, NULL))) {
        call_fail(c, CODE_BAD_REQUEST, "ids: expected a list of message ids");
        return;
    }
    if (has_up_to + has_ids != 1) {
        call_fail(c, CODE_BAD_REQUEST, "upTo, ids: expected exactly one of them");
        return;
    }
    uint32_t n = has_ids ? (uint32_t)cJSON_GetArraySize(list) : 0;
    struct ack *q = req_begin(c, sizeof *q + n * sizeof q->ids[0]);
    if (!q)
        return;
    struct slice id = call_user_id(c);
    memcpy(q->id, id.p, id.n);
    if (n)
        get_ids(list, q->ids);
    q->r.after = ack_after;
    q->op = (struct store_inbox_ack){.user = slice_of(q->id, id.n), .up_to = up_to, .ids = q->ids, .id_count = n};
    op_begin(s, &q->op.op, acked);
    store_inbox_ack(s->store, &q->op);
}

int act_inbox_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 7, .name = "inbox", .class = CLASS_READ, .handle = handle_fetch},
        {.number = 8, .name = "inbox_ack", .class = CLASS_ALONE, .handle = handle_ack},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
