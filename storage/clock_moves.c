/* Moves of a clock: see clock_moves.h. */
#include "storage/clock_moves.h"

#include "core/base/buf.h"

#include <string.h>

/* The oldest two become one that ages less than they did: nothing ends too early. */
void clock_moves_add(struct clock_moves *m, uint64_t from_ms, uint64_t by_ms)
{
    if (m->n == CLOCK_MOVES) {
        m->list[0].by_ms += m->list[1].by_ms;
        m->n--;
        memmove(&m->list[1], &m->list[2], (m->n - 1) * sizeof m->list[0]);
    }
    m->list[m->n++] = (struct clock_move){.from_ms = from_ms, .by_ms = by_ms};
}

uint64_t clock_moves_age(const struct clock_moves *m, uint64_t now_ms, uint64_t stamp_ms)
{
    uint64_t age = now_ms > stamp_ms ? now_ms - stamp_ms : 0;
    for (uint32_t i = 0; i < m->n; i++)
        if (stamp_ms < m->list[i].from_ms)
            age += m->list[i].by_ms;
    return age;
}

size_t clock_moves_encode(const struct clock_moves *m, char out[CLOCK_MOVES * CLOCK_MOVE_SIZE])
{
    for (uint32_t i = 0; i < m->n; i++) {
        store_be64(out + CLOCK_MOVE_SIZE * i, m->list[i].from_ms);
        store_be64(out + CLOCK_MOVE_SIZE * i + 8, m->list[i].by_ms);
    }
    return (size_t)m->n * CLOCK_MOVE_SIZE;
}

void clock_moves_decode(struct clock_moves *m, struct slice v)
{
    m->n = 0;
    for (size_t at = 0; at + CLOCK_MOVE_SIZE <= v.n && m->n < CLOCK_MOVES; at += CLOCK_MOVE_SIZE)
        m->list[m->n++] = (struct clock_move){load_be64(v.p + at), load_be64(v.p + at + 8)};
}
