/* The store keeps a digest of the key. When the file `secret` is lost or replaced, every token that users hold is
 * refused, and somebody should know why. */
#include "core/server/key_watch.h"

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"

#include <stdlib.h>
#include <string.h>

#define KEY_NOTE SLICE_LIT("server:token_key")

static void key_kept(void *owner, struct store_op *op)
{
    struct server *s = owner;
    (void)op; /* where the disk is full, the next start finds it, and says so again */
    s->key_look.busy = false;
    if (s->key_look.again)
        key_watch(s);
}

static void key_found(void *owner, struct store_op *op)
{
    struct server *s = owner;
    struct key_look *w = &s->key_look;
    struct slice digest = slice_of((const char *)w->digest, sizeof w->digest);
    bool read = op->status == STORE_OK && s->store, there = read && w->find.n > 0;
    bool same = there && slice_eq(w->find.notes[0].value, digest);
    free(w->find.notes);
    free(w->find.arena);
    if (there && !same)
        log_event(
            LOG_ERROR, "auth.key_changed",
            LOG_STR("effect", "tokens that were given with the key before are refused: those sessions have ended"),
            LOG_STR("hint", "if that is not meant, put back auth.secret, or the file `secret` of the data "
                            "directory, and reload"));
    if (!read || same) {
        key_kept(s, op);
        return;
    }
    w->put = (struct store_note_put){.note = {KEY_NOTE, digest}, .op = {.home = &s->mail, .done = key_kept}};
    store_note_put(s->store, &w->put);
}

void key_watch(struct server *s)
{
    struct key_look *w = &s->key_look;
    /* In other modes nobody holds our tokens; without a directory a key lasts as long as its users. */
    if (strcmp(s->config->auth.mode, "open") != 0 || !settings_secret_directory(s->boot) || !s->store)
        return;
    w->again = w->busy;
    if (w->busy || secret_digest(s->key, w->digest) != 0)
        return;
    w->busy = true;
    w->find = (struct store_notes){.prefix = KEY_NOTE, .limit = 1, .op = {.home = &s->mail, .done = key_found}};
    store_notes(s->store, &w->find);
}
