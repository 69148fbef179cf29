/*
 * The breaker of a script's function: leaves it out where it only costs.
 *
 * An error costs nothing worth mentioning, and is often made by the caller's own input: the function is asked again the
 * next time, by whomever, so that nobody's input takes a rule away from others. What counts is a *costly* failure: one
 * that was stopped, or took longer than its budget. It is counted for each caller; only when several fail so in a row
 * is the function left out for all.
 *
 * One thread at a time. Times are monotonic ms.
 */
#ifndef MAGPIE_SCRIPT_BREAKER_H
#define MAGPIE_SCRIPT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_callers;

struct breaker {
    uint64_t shut_until;             /* `open`: nobody is asked before, but strangers */
    uint64_t try_at;                 /* `open`: when the next stranger is asked */
    uint32_t failures;               /* costly ones in a row, whoever called */
    uint32_t row;                    /* number of that row */
    uint32_t failing;                /* callers in it */
    uint32_t opened;                 /* how often it was shut in it */
    bool open;                       /* left out for all, until a call works */
    struct breaker_callers *callers; /* who failed lately; owned; NULL: none yet */
};

enum breaker_says {
    BREAKER_ASK,
    BREAKER_LEFT_OUT, /* for all: as if it had failed */
    BREAKER_REFUSE    /* this caller has cost too much; to pass instead would be a way around the rule */
};

/* Of timers and others that nobody calls: every failure counts. */
enum { BREAKER_NOBODY = 0 };

/* Whether there is nothing to ask it: nobody has failed lately. */
static inline bool breaker_quiet(const struct breaker *b)
{
    return !b->open && !b->callers;
}
/* caller: a hash of whoever calls. */
enum breaker_says breaker_ask(struct breaker *b, uint64_t caller, uint64_t now_ms);
/* The function was asked, and worked. */
static inline void breaker_worked(struct breaker *b)
{
    if (b->failures) {
        b->failures = b->failing = b->opened = 0;
        b->open = false;
        b->row++;
    }
}

/* What a failure led to. */
struct breaker_news {
    uint32_t failures; /* 0: nothing; else of the caller, or in a row */
    uint64_t ms;       /* how long the function is left out */
    bool for_all;      /* not for this caller alone */
};
struct breaker_news breaker_failed(struct breaker *b, uint64_t caller, bool costly, uint64_t now_ms);

/* Frees what the breaker owns. */
void breaker_fini(struct breaker *b);

#endif
