/* A list of operations, linked by their mails, in order. */
#ifndef MAGPIE_STORAGE_OP_LIST_H
#define MAGPIE_STORAGE_OP_LIST_H

#include "storage/store.h"

struct op_list {
    struct mail *head, **tail;
    uint64_t count;
};
static inline void op_list_init(struct op_list *l)
{
    *l = (struct op_list){.tail = &l->head};
}
static inline void op_list_push(struct op_list *l, struct store_op *op)
{
    op->mail.next = NULL;
    *l->tail = &op->mail;
    l->tail = &op->mail.next;
    l->count++;
}
/* Moves all of `from` to the end of `to`. */
static inline void op_list_splice(struct op_list *to, struct op_list *from)
{
    if (from->head) {
        *to->tail = from->head;
        to->tail = from->tail;
        to->count += from->count;
        op_list_init(from);
    }
}
static inline struct store_op *op_list_pop(struct op_list *l)
{
    struct mail *m = l->head;
    if (m) {
        l->head = m->next;
        if (!l->head)
            l->tail = &l->head;
        l->count--;
        m->next = NULL;
    }
    return (struct store_op *)m;
}
/* Hands each operation back to its home: grouped, so that each home wakes once. Frees those of the engine's own
 * (hint.h). Empties the list. */
void op_list_answer(struct op_list *l);

#endif
