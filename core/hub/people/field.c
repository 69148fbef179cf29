/* Fields of request bodies, checked by the value rules of protocol.md section 3. Every complaint names the field. */
#include "core/hub/people/field.h"

#include "core/base/json.h"
#include "core/base/utf8.h"

#include <cjson/cJSON.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 200, TEXT_MAX = 64 };

/* 1: there; 0: absent; -1: answered. */
static int get_string(struct call *c, const char *field, struct slice *out)
{
    int rc = json_get_string(c->body, field, out);
    if (rc < 0)
        call_fail(c, CODE_BAD_REQUEST, "%s: expected a string", field);
    return rc < 0 ? -1 : rc;
}

static bool get_required(struct call *c, const char *field, struct slice *out)
{
    int rc = get_string(c, field, out);
    if (rc == 0)
        call_fail(c, CODE_BAD_REQUEST, "%s: missing", field);
    return rc == 1;
}

bool call_get_channel(struct call *c, const char *field, struct slice *out)
{
    if (!get_required(c, field, out))
        return false;
    if (value_channel(*out))
        return true;
    call_fail(c, CODE_BAD_REQUEST,
              "%s: expected 1 to 64 bytes of text without control characters, leading or trailing space", field);
    return false;
}

bool call_get_user_id(struct call *c, const char *field, struct slice *out)
{
    if (!get_required(c, field, out))
        return false;
    if (value_user_id(*out))
        return true;
    call_fail(c, CODE_BAD_REQUEST, "%s: expected a user id, 1 to 64 of A-Z a-z 0-9 _ . : -", field);
    return false;
}

bool call_get_user_ids(struct call *c, const char *field, int max, const struct cJSON **out)
{
    const struct cJSON *item;
    int rc = json_get_array(c->body, field, out);
    if (rc == 0) {
        call_fail(c, CODE_BAD_REQUEST, "%s: missing", field);
        return false;
    }
    if (rc == 1) {
        cJSON_ArrayForEach(item, *out)
        {
            if (!cJSON_IsString(item) || !value_user_id(slice_str(item->valuestring)))
                rc = -1;
        }
    }
    if (rc < 0)
        call_fail(c, CODE_BAD_REQUEST, "%s: expected a list of user ids", field);
    else if (cJSON_GetArraySize(*out) > max)
        call_fail(c, CODE_BAD_REQUEST, "%s: %d at most", field, max);
    else
        return true;
    return false;
}

bool call_get_text(struct call *c, const char *field, struct slice *out)
{
    *out = SLICE_NONE;
    int rc = get_string(c, field, out);
    if (rc == 1 && (out->n == 0 || out->n > TEXT_MAX)) {
        call_fail(c, CODE_BAD_REQUEST, "%s: expected 1 to %d bytes", field, TEXT_MAX);
        return false;
    }
    return rc >= 0;
}

bool call_get_content(struct call *c, struct slice *out)
{
    if (!get_required(c, "content", out))
        return false;
    if (out->n == 0) {
        call_fail(c, CODE_BAD_REQUEST, "content: expected at least 1 byte");
        return false;
    }
    uint32_t max = c->shard->opt->content_max;
    if (max && out->n > max) {
        call_fail(c, CODE_TOO_LARGE, "content: %zu bytes, over the limit of %u", out->n, max);
        return false;
    }
    return true;
}

bool call_get_int(struct call *c, const char *field, int64_t min, bool required, bool *has, uint64_t *out)
{
    int64_t v = 0;
    int rc = json_get_int(c->body, field, &v);
    *has = rc == 1;
    if (rc < 0 || (rc == 1 && v < min)) {
        call_fail(c, CODE_BAD_REQUEST, "%s: expected an integer of at least %lld", field, (long long)min);
        return false;
    }
    if (rc == 0 && required) {
        call_fail(c, CODE_BAD_REQUEST, "%s: missing", field);
        return false;
    }
    if (rc == 1)
        *out = (uint64_t)v;
    return true;
}

bool call_get_limit(struct call *c, uint32_t *out)
{
    bool has;
    uint64_t v = LIMIT_DEFAULT;
    if (!call_get_int(c, "limit", 1, false, &has, &v))
        return false;
    *out = v > LIMIT_MAX ? LIMIT_MAX : (uint32_t)v;
    return true;
}

bool value_message_id(struct slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n != 19)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = v;
    return v <= INT64_MAX;
}

bool call_get_message_id(struct call *c, const char *field, bool *has, uint64_t *out)
{
    struct slice s;
    int rc = get_string(c, field, &s);
    *has = rc == 1;
    if (rc == 1 && !value_message_id(s, out)) {
        call_fail(c, CODE_BAD_REQUEST, "%s: expected a message id, 19 digits", field);
        return false;
    }
    return rc >= 0;
}

bool call_get_conversation(struct call *c, struct conv_key *key)
{
    struct slice channel, peer;
    int has_channel = get_string(c, "channel", &channel);
    if (has_channel < 0)
        return false;
    int has_peer = get_string(c, "peerId", &peer);
    if (has_peer < 0)
        return false;
    if (has_channel + has_peer != 1) {
        call_fail(c, CODE_BAD_REQUEST, "channel, peerId: expected exactly one of them");
        return false;
    }
    if (has_channel) {
        if (!call_get_channel(c, "channel", &channel))
            return false;
        *key = conv_key_channel(channel);
    } else {
        if (!call_get_user_id(c, "peerId", &peer))
            return false;
        *key = conv_key_pair(call_user_id(c), peer);
    }
    c->order = hash_bytes(conv_key_slice(key));
    return true;
}

bool call_get_cursor(struct call *c, struct slice *out)
{
    *out = SLICE_NONE;
    int rc = get_string(c, "cursor", out);
    if (rc == 1 && (out->n == 0 || out->n > STORE_CURSOR_MAX)) {
        call_fail(c, CODE_BAD_REQUEST, "cursor: not one of this server's");
        return false;
    }
    return rc >= 0;
}
