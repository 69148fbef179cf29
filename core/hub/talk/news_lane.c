#include "core/hub/talk/news_lane.h"

#include <stdlib.h>

/* A message comes before what is said about it. */
unsigned held_rank(const struct bus_news *n)
{
    return n->kind == NEWS_MESSAGE ? 0 : n->kind == NEWS_NUDGE ? 1 : 2;
}

static uint64_t number_of(const struct bus_news *n)
{
    return n->kind == NEWS_CHANNEL ? n->version : n->seq;
}

bool held_put(struct lane *l, struct held h)
{
    uint64_t number = number_of(h.news);
    struct held *x = malloc(sizeof *x);
    if (!x) {
        free(h.news);
        return false;
    }
    struct held **at = &l->first;
    while (*at && (number_of((*at)->news) < number ||
                   (number_of((*at)->news) == number && held_rank((*at)->news) <= held_rank(h.news))))
        at = &(*at)->next;
    *x = h;
    x->next = *at;
    *at = x;
    l->count++;
    return true;
}

struct held held_take(struct lane *l)
{
    struct held *x = l->first, out = *x;
    l->first = x->next;
    l->count--;
    free(x);
    return out;
}

void held_free(struct lane *l)
{
    while (l->first)
        free(held_take(l).news);
}

struct held *held_find(const struct lane *l, uint64_t seq, enum bus_news_kind kind)
{
    for (struct held *x = l->first; x && x->news->seq <= seq; x = x->next)
        if (x->news->seq == seq && x->news->kind == kind)
            return x;
    return NULL;
}
