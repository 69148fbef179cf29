/* Lists of operations: see op_list.h. */
#include "storage/local/op_list.h"

#include "storage/local/hint.h"

void op_list_answer(struct op_list *l)
{
    struct mail *m = l->head;
    op_list_init(l);
    while (m) { /* one home at a time, in order */
        struct mailbox *home = NULL;
        struct mail *first = NULL, **last = &first, *tail = NULL, *rest = NULL, **rest_last = &rest;
        for (struct mail *next; m; m = next) {
            struct store_op *op = (struct store_op *)m;
            next = m->next;
            m->next = NULL;
            if (!op->home) {
                hint_free(op);
            } else if (!home || op->home == home) {
                home = op->home;
                *last = tail = m;
                last = &m->next;
            } else {
                *rest_last = m;
                rest_last = &m->next;
            }
        }
        if (home)
            mailbox_post_chain(home, first, tail);
        m = rest;
    }
}
