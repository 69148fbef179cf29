/* Pages of stored rows: see storage/page.h. */
#ifndef MAGPIE_STORAGE_LOCAL_PAGE_H
#define MAGPIE_STORAGE_LOCAL_PAGE_H

#include "storage/local/record.h"
#include "storage/page.h"

/* page_add() of a row, which is as message_decode() made it. ERR_NOMEM. */
MUST_CHECK static inline int page_add_row(struct page_builder *b, struct slice conv, uint64_t seq,
                                          const struct message_record *m)
{
    return page_add(b, &(struct store_message){.conv = conv,
                                               .seq = seq,
                                               .id = m->id,
                                               .created_ms = m->created_ms,
                                               .edited_ms = m->edited_ms,
                                               .recalled = m->row.flags & ROW_RECALLED,
                                               .sender = m->sender,
                                               .sender_name = m->sender_name,
                                               .content = m->content});
}

#endif
