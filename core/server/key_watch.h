/* Whether the key of resume tokens is still that of the last run. Private to core/server. */
#ifndef MAGPIE_SERVER_KEY_WATCH_H
#define MAGPIE_SERVER_KEY_WATCH_H

struct server;

/* Tells the log when s->key is not the key that was in force before, here or in the last run, and remembers it. After
 * each change of it; the answer comes later. Main thread. */
void key_watch(struct server *s);

#endif
