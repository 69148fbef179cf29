/* Fields of request bodies. Each getter answers the error itself, naming the field, and returns false. */
#ifndef MAGPIE_HUB_FIELD_H
#define MAGPIE_HUB_FIELD_H

#include "core/hub/people/req.h"

bool call_get_channel(struct call *c, const char *field, struct slice *out);
bool call_get_user_id(struct call *c, const char *field, struct slice *out);
/* A list of `max` user ids at most, which may be empty; borrowed from the body. */
bool call_get_user_ids(struct call *c, const char *field, int max, const struct cJSON **out);
/* Optional text of 1-64 bytes; out->n == 0 when absent. */
bool call_get_text(struct call *c, const char *field, struct slice *out);
bool call_get_content(struct call *c, struct slice *out);
/* integer >= min; *has tells whether it is there; `required` makes absence an error */
bool call_get_int(struct call *c, const char *field, int64_t min, bool required, bool *has, uint64_t *out);
/* `limit`: 1 or more, default 50, capped at 200 */
bool call_get_limit(struct call *c, uint32_t *out);
/* An optional message id: 19 digits. */
bool call_get_message_id(struct call *c, const char *field, bool *has, uint64_t *out);
/* `channel` or `peerId`, exactly one; makes the key and sets c->order. */
bool call_get_conversation(struct call *c, struct conv_key *key);
/* An optional cursor of printable text. */
bool call_get_cursor(struct call *c, struct slice *out);
bool value_message_id(struct slice s, uint64_t *out);

#endif
