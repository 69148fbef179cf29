/* What the files of magpie_client.h know of each other. */
#ifndef MAGPIE_CLIENT_MAGPIE_CLIENT_PRIVATE_H
#define MAGPIE_CLIENT_MAGPIE_CLIENT_PRIVATE_H

#include "core/base/buf.h"
#include "core/client/client.h"
#include "core/client/magpie_client.h"

static inline struct slice magpie_slice(struct magpie_json json)
{
    return slice_of(json.p, json.n);
}
static inline struct magpie_json magpie_json_of(struct slice s)
{
    return (struct magpie_json){s.p, s.n};
}

/* magpie_request() with a body that may hold anything. */
int magpie_client_request(struct magpie_conn *conn, uint16_t action, struct slice body, magpie_answer_fn *answer,
                          void *arg);

#endif
