/* What the files of http_api share. */
#ifndef MAGPIE_PLUGINS_HTTP_API_H
#define MAGPIE_PLUGINS_HTTP_API_H

#include "plugins/magpie_plugin.h"

enum { ARGS = 2, ARG_SIZE = 256, KEYS_MAX = 8, IDS_MAX = 100 };

/* The keys that callers show. Immutable once in force. */
struct keys {
    unsigned count;
    char *list[KEYS_MAX]; /* owned */
};

struct api {
    mp_self *self;
    const struct mp_api *mp;
    mp_current *keys;     /* of struct keys */
    int requests, errors; /* metrics */
};

/* A request on its way to its answer. On its shard. */
struct call {
    struct api *api;
    const struct mp_api *mp;
    mp_http *http;
    const struct mp_http_request *q; /* valid until it is answered */
    mp_thread *shard;
    mp_json *body;             /* of POST and PUT; NULL: empty; owned */
    char args[ARGS][ARG_SIZE]; /* what stands for the {} of the endpoint's path, decoded */
    mp_out *out;               /* the answer; owned */
    void *state;               /* the endpoint's, freed with free() */
};

/* Ends a call: with what is in `out`, or with an error. They free the call. */
void call_answer(struct call *c, unsigned status);
void call_error(struct call *c, enum mp_code code, uint32_t retry_after_ms, const char *message);
/* The error of an operation's result. */
void call_result(struct call *c, const struct mp_result *r);
/* For an operation that could not begin: ends the call when rc is negative. */
void call_began(struct call *c, int rc);

/* Parameters of the query. False: it is wrong, and the call has been answered. */
bool call_number(struct call *c, const char *name, uint64_t max, bool *has, uint64_t *out);
bool call_text(struct call *c, const char *name, char *out, size_t size);
/* Members of the body; `required`: absence is an error. */
bool body_text(struct call *c, const char *name, bool required, struct mp_str *out);
bool body_bool(struct call *c, const char *name, bool *out);

struct endpoint {
    const char *method, *path; /* "users/{}/messages" */
    void (*run)(struct call *c);
};
extern const struct endpoint endpoints[];
extern const unsigned endpoint_count;

#endif
