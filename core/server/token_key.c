#include "core/server/token_key.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/config/config.h"
#include "core/config/secret.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"
#include "core/server/signals.h"
#include "storage/cluster.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OTHERS_MS = 12000, LOOK_MS = 200 };

/* In Redis: the text that was drawn when no node had one in its config, and the digest of the key in force. */
static const char drawn[] = "secret", digest_name[] = "key";

/* The text that all nodes share, drawn by the first of them. */
static int shared_text(struct store *store, struct buf *out, char *why, size_t why_size)
{
    char fresh[SECRET_TEXT_SIZE];
    secret_make(fresh);
    int rc = store_agree(store, drawn, slice_str(fresh), false, out, why, why_size);
    explicit_bzero(fresh, sizeof fresh);
    buf_byte(out, '\0');
    return rc ? rc : buf_ok(out) ? 0 : ERR_NOMEM;
}

static void put_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

/* Whether other nodes are there. One that was killed is still listed for some seconds: a start waits for that, unless
 * it is to end. */
static bool others_live(struct store *store, bool starts)
{
    struct cluster_figures *c = malloc(sizeof *c);
    uint64_t until = clock_mono_ms() + (starts ? OTHERS_MS : 0);
    bool alone = false, told = false;
    do {
        if (told)
            nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        told = c && store_get_cluster(store, c);
        alone = told && c->node_count == 1;
    } while (told && !alone && clock_mono_ms() < until && !signals_end_waits());
    free(c);
    return !alone;
}

/* Whether this is the key of the other nodes. Where there are none, it is from now on: key_watch.c tells of that. */
static int agree_on(struct store *store, const uint8_t *key, bool starts, char *why, size_t why_size)
{
    uint8_t digest[SECRET_DIGEST_SIZE];
    char hex[2 * SECRET_DIGEST_SIZE];
    struct buf stands = BUF_INIT;
    int rc = secret_digest(key, digest);
    put_hex(digest, sizeof digest, hex);
    if (rc == 0)
        rc = store_agree(store, digest_name, slice_of(hex, sizeof hex), false, &stands, why, why_size);
    bool other = rc == 0 && !slice_eq(buf_slice(&stands), slice_of(hex, sizeof hex));
    if (other && others_live(store, starts)) {
        snprintf(why, why_size,
                 starts && signals_end_waits()
                     ? "auth.secret: told to end while it waited for nodes that have another one"
                     : "auth.secret: another key of tokens is in use there: give this node that of the others, or nil "
                       "where theirs is nil");
        rc = ERR_AUTH;
    } else if (other) {
        rc = store_agree(store, digest_name, slice_of(hex, sizeof hex), true, &stands, why, why_size);
    }
    buf_free(&stands);
    return rc;
}

static int cluster_key(struct server *s, const struct config *c, uint8_t *key, char *why, size_t why_size)
{
    struct buf text = BUF_INIT;
    int rc = c->auth.secret ? 0 : shared_text(s->store, &text, why, why_size);
    if (rc == 0)
        rc = secret_load(c->auth.secret ? c->auth.secret : text.p, NULL, key, why, why_size);
    if (text.p)
        explicit_bzero(text.p, text.n);
    buf_free(&text);
    return rc ? rc : agree_on(s->store, key, c == s->config, why, why_size);
}

int token_key_load(struct server *s, const struct config *c, uint8_t *key, char *why, size_t why_size)
{
    /* The directory and the cluster are those of the start: changes of them wait for a restart. */
    const char *directory = settings_secret_directory(s->boot);
    const char *before = s->config->auth.secret, *now = c->auth.secret;
    bool loaded = c != s->config, same = before && now ? strcmp(before, now) == 0 : before == now;
    /* One that was drawn and is in no file stays; so does the cluster's, without asking Redis. */
    if (loaded && same && (s->boot->cluster.redis.n || (!now && !directory))) {
        memcpy(key, s->key, SECRET_KEY_SIZE);
        return 0;
    }
    if (s->boot->cluster.redis.n)
        return cluster_key(s, c, key, why, why_size);
    return secret_load(c->auth.secret, directory, key, why, why_size);
}
