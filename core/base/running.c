#include "core/base/running.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { SIGNAL_STACK = 32768 }; /* what the handler needs, and the largest register file of today's processors */

/* Read by a handler on the thread that writes it: the parts must be there in the order written. */
static _Thread_local struct {
    struct running what;
    bool has_stack;                        /* for signals */
    _Alignas(16) char stack[SIGNAL_STACK]; /* takes memory when it is used */
} here;

static void give_stack(void)
{
    stack_t s;
    here.has_stack = true;
    if (sigaltstack(NULL, &s) != 0 || !(s.ss_flags & SS_DISABLE)) /* a sanitizer's */
        return;
    s = (stack_t){.ss_sp = here.stack, .ss_size = sizeof here.stack};
    sigaltstack(&s, NULL);
}

struct running running_set(struct running what)
{
    struct running before = here.what;
    if (!here.has_stack)
        give_stack();
    here.what.kind = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    here.what.name = what.name;
    here.what.doing = what.doing;
    atomic_signal_fence(memory_order_seq_cst);
    here.what.kind = what.kind;
    return before;
}

struct running running_now(void)
{
    return here.what;
}
