/*
 * Whose code runs on this thread: a plugin's, a script's. A crash's line in the log (log.h) names it, so that whoever
 * reads it knows whom to ask. Each thread has its own.
 */
#ifndef MAGPIE_BASE_RUNNING_H
#define MAGPIE_BASE_RUNNING_H

/* The texts are borrowed until the next change on this thread. */
struct running {
    const char *kind;  /* what it is, the key of its name in the log: "plugin", "script"; NULL: the server itself */
    const char *name;  /* "filter" */
    const char *doing; /* which of its functions: "message", "init()" */
};

/* From now on `what` runs here; returns what ran before, to be set again. The first call on a thread gives it a stack
 * of its own for signals, so that even a call that never ends its recursion leaves its line. */
struct running running_set(struct running what);
/* Signal-safe. */
struct running running_now(void);

#endif
