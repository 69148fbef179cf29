/*
 * The functions that run inside Redis: functions/NAME.lua, put together and embedded when Magpie is built.
 *
 * The library is called magpie_H and its functions mH_name, where H are 6 hexadecimal digits of the SHA-256 of its
 * text. So two builds never share a name, and may run side by side. A master that lacks the library is given it.
 */
#ifndef MAGPIE_STORAGE_REDIS_LIBRARY_H
#define MAGPIE_STORAGE_REDIS_LIBRARY_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* The functions: X(NAME, name, reads). reads: it changes nothing (it has the flag no-writes), goes by FCALL_RO and over
 * the read link. `look` changes nothing either, but goes with the changes: it sees those that were posted before it. */
/* clang-format off */
#define FUNCTIONS(X)                    \
    X(APPEND,      append,      false)  \
    X(SETTLE,      settle,      false)  \
    X(HEAD,        head,        true)   \
    X(LOOK,        look,        false)  \
    X(RANGE,       range,       true)   \
    X(ROWS,        rows,        true)   \
    X(JOIN,        join,        false)  \
    X(LEAVE,       leave,       false)  \
    X(MEMBERS,     members,     true)   \
    X(VACATE,      vacate,      false)  \
    X(TIER,        tier,        false)  \
    X(CHANGE,      change,      false)  \
    X(BLOCK,       block,       false)  \
    X(TRIM,        trim,        false)  \
    X(CLOSE,       close,       false)  \
    X(WIPE,        wipe,        false)  \
    X(USER_PUT,    user_put,    false)  \
    X(USER_GET,    user_get,    true)   \
    X(USER_SET,    user_set,    false)  \
    X(USER_TIDY,   user_tidy,   false)  \
    X(UNBLOCKED,   unblocked,   false)  \
    X(FORGET,      forget,      false)  \
    X(PAIRED,      paired,      false)  \
    X(INBOX_PUT,   inbox_put,   false)  \
    X(SENT,        sent,        false)  \
    X(INBOX_PEEK,  inbox_peek,  true)   \
    X(INBOX_ACK,   inbox_ack,   false)  \
    X(SUB_PUT,     sub_put,     false)  \
    X(SUB_DEL,     sub_del,     false)  \
    X(MARK,        mark,        false)  \
    X(THERE,       there,       true)   \
    X(BLOCKS,      blocks,      false)  \
    X(GONE_PUT,    gone_put,    false)  \
    X(GONE_LIST,   gone_list,   true)   \
    X(CONVS,       convs,       true)   \
    X(SHARES,      shares,      true)   \
    X(SENT_IN,     sent_in,     true)   \
    X(SWEEP,       sweep,       true)   \
    X(WINDOWS,     windows,     false)  \
    X(NAMES,       names,       true)   \
    X(NAMES_DROP,  names_drop,  false)  \
    X(WAITING,     waiting,     true)   \
    X(ARCHIVED,    archived,    false)  \
    X(KEPT,        kept,        true)   \
    X(KEEP,        keep,        false)  \
    X(TOUCHED,     touched,     false)  \
    X(SESSION_PUT, session_put, false)  \
    X(SESSION_DEL, session_del, false)  \
    X(PRESENCE,    presence,    true)   \
    X(WATCH,       watch,       false)  \
    X(USER_LOOK,   user_look,   true)   \
    X(BEAT,        beat,        false)  \
    X(BURY,        bury,        false)  \
    X(NOTE,        note,        false)  \
    X(ONCE,        once,        false)
/* clang-format on */

#define FUNCTION_ENUM(NAME, ...) FN_##NAME,
enum fn {
    FUNCTIONS(FUNCTION_ENUM) FN_COUNT,
    FN_RAW_READ = FN_COUNT, /* no function, but a command of Redis (call_raw) */
    FN_RAW_WRITE,
    FN_NEWS /* likewise: SPUBLISH (publish.h) */
};
#undef FUNCTION_ENUM

/* How each function's command begins: "$5 FCALL" and the name that Redis knows it by, two arguments in RESP. */
struct library {
    struct {
        uint8_t n; /* bytes of text */
        char text[47];
    } head[FN_COUNT];
};
void library_init(struct library *l);

static inline struct slice library_head(const struct library *l, enum fn fn)
{
    return slice_of(l->head[fn].text, l->head[fn].n);
}
/* The function's name as it stands in Redis, for the log. */
struct slice library_name(const struct library *l, enum fn fn);
/* The text of the library, to be given to FUNCTION LOAD. Static. */
struct slice library_text(void);
/* Its six digits. Static. */
const char *library_digits(void);
/* Whether a function, or a raw command, changes nothing. */
bool library_reads(enum fn fn);

#endif
