/* Reading what comes, for users of magpie_client.h. */
#include "core/client/client_fields.h"
#include "core/client/magpie_client_private.h"

#include <stdio.h>
#include <stdlib.h>

struct magpie_json magpie_json_get(struct magpie_json object, const char *path)
{
    while (object.p) {
        struct client_field field = {.key = slice_of(path, strcspn(path, "."))};
        if (client_fields_read(magpie_slice(object), &field, 1) != 1)
            return (struct magpie_json){NULL, 0};
        object = magpie_json_of(field.value);
        if (path[field.key.n] == '\0')
            break;
        path += field.key.n + 1;
    }
    return object;
}

char *magpie_json_string(struct magpie_json value)
{
    struct buf text = BUF_INIT;

    if (!value.p || client_value_string(magpie_slice(value), &text) < 0) {
        buf_free(&text);
        return NULL;
    }
    buf_byte(&text, '\0');
    if (!buf_ok(&text))
        buf_free(&text);
    return text.p;
}

int magpie_json_int(struct magpie_json value, int64_t *out)
{
    return value.p ? client_value_int(magpie_slice(value), out) : ERR_INVALID;
}

bool magpie_json_true(struct magpie_json value)
{
    return slice_eq(magpie_slice(value), SLICE_LIT("true"));
}

int magpie_json_next(struct magpie_json array, size_t *at, struct magpie_json *item)
{
    struct slice next = SLICE_NONE;
    int rc = array.p ? client_array_next(magpie_slice(array), at, &next) : ERR_INVALID;
    *item = magpie_json_of(next);
    return rc;
}

void magpie_refusal_read(struct magpie_json body, struct magpie_refusal *out)
{
    struct client_error error;

    client_error_read(magpie_slice(body), &error);
    snprintf(out->code, sizeof out->code, "%s", error.code);
    snprintf(out->message, sizeof out->message, "%s", error.message);
    out->retry_after_ms = error.retry_after_ms;
}

/* --- Pushes ------------------------------------------------------------------------------------------------------- */

/* The strings of a push: where each stands, and which field it fills. */
static const struct {
    const char *path; /* in the body */
    size_t field;     /* offset in struct magpie_push */
} strings[] = {
    {"channel", offsetof(struct magpie_push, channel)},
    {"peerId", offsetof(struct magpie_push, peer)},
    {"id", offsetof(struct magpie_push, id)},
    {"content", offsetof(struct magpie_push, content)},
    {"sender.id", offsetof(struct magpie_push, sender_id)},
    {"sender.name", offsetof(struct magpie_push, sender_name)},
    {"receiverId", offsetof(struct magpie_push, receiver_id)},
    {"name", offsetof(struct magpie_push, name)},
    {"change", offsetof(struct magpie_push, change)},
    {"reason", offsetof(struct magpie_push, reason)},
    {"message", offsetof(struct magpie_push, message)},
};

static const struct {
    const char *path; /* in the body */
    size_t field;     /* offset of a 64-bit integer */
} numbers[] = {
    {"seq", offsetof(struct magpie_push, seq)},
    {"from", offsetof(struct magpie_push, from)},
    {"to", offsetof(struct magpie_push, to)},
    {"omitted", offsetof(struct magpie_push, omitted)},
    {"members", offsetof(struct magpie_push, members)},
    {"inbox", offsetof(struct magpie_push, inbox)},
    {"createdAt", offsetof(struct magpie_push, created_at)},
    {"editedAt", offsetof(struct magpie_push, edited_at)},
    {"retryAfter", offsetof(struct magpie_push, retry_after_ms)},
};

struct magpie_push *magpie_push_read(struct magpie_json body)
{
    struct magpie_push *push = body.n == 0 || body.p[0] == '{' ? calloc(1, sizeof *push) : NULL;

    if (!push)
        return NULL;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        struct magpie_json value = magpie_json_get(body, strings[i].path);
        char *text = value.p && value.p[0] == '"' ? magpie_json_string(value) : NULL;
        if (!text && value.p && value.p[0] == '"') {
            magpie_push_free(push);
            return NULL;
        }
        memcpy((char *)push + strings[i].field, &text, sizeof text);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t value = 0;
        if (magpie_json_int(magpie_json_get(body, numbers[i].path), &value) == 0)
            memcpy((char *)push + numbers[i].field, &value, sizeof value);
    }
    push->recalled = magpie_json_true(magpie_json_get(body, "recalled"));
    push->online = magpie_json_true(magpie_json_get(body, "online"));
    push->messages = magpie_json_get(body, "messages");
    return push;
}

void magpie_push_free(struct magpie_push *push)
{
    for (size_t i = 0; push && i < sizeof strings / sizeof strings[0]; i++) {
        char *text;
        memcpy(&text, (char *)push + strings[i].field, sizeof text);
        free(text);
    }
    free(push);
}
