/*
 * Who has given the password: sessions, in memory alone, and what a browser shows for one. Main thread.
 *
 * A session is named by a cookie, which no script can read, and guarded by a token, which only the page's own scripts
 * can know: an order needs both, so that no other site's page can give one.
 *
 * Of several nodes, the one that began a session has it, and its number stands in the cookie. The others ask that one
 * at each request, by the cookie's digest: so what travels between nodes opens nothing, and a session that has ended
 * there has ended everywhere.
 */
#ifndef MAGPIE_PLUGIN_WEB_SESSION_H
#define MAGPIE_PLUGIN_WEB_SESSION_H

#include "plugins/magpie_plugin.h"

#define SESSION_COOKIE "magpie-admin"

enum {
    SESSIONS = 32,       /* a new one takes the place of the one that was silent for longest */
    SESSION_SECRET = 65, /* 32 random bytes in hex, and NUL */
    SESSION_NAME = 71,   /* NODE-SECRET; of a server alone the secret */
    SESSION_HOURS = 12   /* that one lasts at most, however busy */
};

struct session {
    char name[SESSION_NAME];     /* of the cookie; empty: the place is free */
    char digest[SESSION_SECRET]; /* of the name: by which other nodes ask for it */
    char token[SESSION_SECRET];  /* of the page's scripts */
    uint64_t began_ms, used_ms;  /* monotonic */
    uint64_t password;           /* console_password() when it began: another one ends it */
    unsigned number;             /* for the log */
};

struct sessions {
    struct session list[SESSIONS];
    uint64_t idle_ms; /* unused for so long, a session ends */
    unsigned numbers; /* given so far */
    unsigned node;    /* this one's number; 0: it stands alone */
};

/* A new one; NULL: the system has no randomness. */
struct session *session_new(struct sessions *s, uint64_t password, uint64_t now_ms);
/* The one that a request's Cookie field names (p may be NULL), marked as used; NULL: none, or its time is over. */
struct session *session_find(struct sessions *s, struct mp_str cookies, uint64_t password, uint64_t now_ms);
/* The same by the cookie's digest. */
struct session *session_find_digest(struct sessions *s, struct mp_str digest, uint64_t password, uint64_t now_ms);
/* Which other node has the session that the field names, and the digest to ask it by; 0: it names none of another. */
unsigned session_elsewhere(const struct sessions *s, struct mp_str cookies, char digest[SESSION_SECRET]);
void session_end(struct session *one);
/* Whether the page that sends a request is one of this server's. Each text is a field's value, with p NULL where it is
 * absent: Sec-Fetch-Site, which browsers add for good connections, else Origin, which names the request's host then. No
 * browser leaves out both from a POST. */
bool session_same_site(struct mp_str fetch_site, struct mp_str origin, struct mp_str host);

#endif
