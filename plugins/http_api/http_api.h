/* What the files of http_api share. */
#ifndef MAGPIE_PLUGINS_HTTP_API_H
#define MAGPIE_PLUGINS_HTTP_API_H

#include "plugins/magpie_plugin.h"

enum { ARGS = 3, ARG_SIZE = 256, KEYS_MAX = 8, IDS_MAX = 100 };

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
/* 409: it is there already. */
void call_conflict(struct call *c, const char *message);
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
/* A whole number from 0 to max. *has (may be NULL): it is given. */
bool body_number(struct call *c, const char *name, uint64_t max, bool *has, uint64_t *out);
/* One of `choices` (NULL-terminated): its place. *has: it is given. */
bool body_choice(struct call *c, const char *name, const char *const *choices, bool *has, unsigned *out);
/* The number in the path that is a message's seq. */
bool path_seq(struct call *c, unsigned arg, uint64_t *out);
/* limit=, 1 to max, default 50; of a page. */
bool page_limit(struct call *c, uint32_t max, uint32_t *out);

/* Writes "key":"value" into the answer. */
void put_key(struct call *c, const char *key, struct mp_str value);

struct endpoint {
    const char *method, *path; /* "users/{}/messages" */
    void (*run)(struct call *c);
    const char *fields; /* of the body, with blanks between them; NULL: it takes none */
    const char *query;  /* parameters of the query, likewise */
};
extern const struct endpoint endpoints[];
extern const unsigned endpoint_count;

#endif
