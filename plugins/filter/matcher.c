#include "matcher.h"

#include "fold.h"

#include <stdlib.h>
#include <string.h>

/* A state is a node of the trie of all words. Its edges stand together, sorted, in one array of all edges. */
struct node {
    uint32_t first;  /* its first edge */
    uint32_t edges;  /* how many */
    uint32_t fail;   /* the longest proper suffix that is a node */
    uint32_t output; /* the next node on the way of `fail` that ends a word; 0: none */
    uint32_t length; /* points of the word that ends here; 0: none does */
};

struct edge {
    uint32_t point;
    uint32_t to;
};

struct matcher {
    struct node *nodes; /* [0] is the root; owned */
    struct edge *edges; /* owned */
    uint32_t node_count, edge_count;
    size_t words;
    uint32_t ascii[128]; /* edges of the root, directly: most characters of a text are no beginning of any word */
    struct fold *fold;   /* owned */
};

/* --- Building: a trie with its edges as lists of siblings, then laid out ------------------------------------------ */

struct trie {
    uint32_t point;
    uint32_t child, sibling; /* 0: none; siblings ascend by point */
    uint32_t length;
};

struct matcher_builder {
    struct trie *list; /* [0] is the root; owned */
    uint32_t count, cap;
    size_t words;
    struct fold *fold;    /* owned */
    struct points points; /* of the word that is added */
};

static bool grow(struct matcher_builder *b)
{
    if (b->count < b->cap)
        return true;
    uint32_t cap = b->cap ? b->cap * 2 : 1024;
    struct trie *p = realloc(b->list, cap * sizeof *p);
    if (!p)
        return false;
    b->list = p;
    b->cap = cap;
    return true;
}

struct matcher_builder *matcher_begin(void)
{
    struct matcher_builder *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->fold = fold_new();
    if (!b->fold || !grow(b)) {
        matcher_abandon(b);
        return NULL;
    }
    b->list[b->count++] = (struct trie){.point = 0};
    return b;
}

void matcher_abandon(struct matcher_builder *b)
{
    if (b) {
        fold_free(b->fold);
        free(b->points.list);
        free(b->list);
    }
    free(b);
}

/* The child of that point, made when it is not there; UINT32_MAX: out of memory. */
static uint32_t child_of(struct matcher_builder *b, uint32_t at, uint32_t point)
{
    uint32_t before = 0, next = b->list[at].child;
    while (next && b->list[next].point < point) {
        before = next;
        next = b->list[next].sibling;
    }
    if (next && b->list[next].point == point)
        return next;
    if (!grow(b))
        return UINT32_MAX;
    uint32_t i = b->count++;
    b->list[i] = (struct trie){.point = point, .sibling = next};
    if (before)
        b->list[before].sibling = i;
    else
        b->list[at].child = i;
    return i;
}

/* What is wrong with the word, static; NULL: nothing. Beyond UTF-8, its length is looked at: in characters that
 * somebody sees. */
static const char *check_word(const char *word, size_t n)
{
    size_t count = 0;
    for (size_t i = 0, size; i < n; i += size) {
        int32_t c;
        if (!(size = fold_decode(word + i, n - i, &c)))
            return "not valid UTF-8";
        if (c == 0)
            return "a zero byte: the list must be UTF-8 text";
        count += !fold_invisible(c);
    }
    return count > WORD_MAX ? "longer than 64 characters" : NULL;
}

int matcher_add(struct matcher_builder *b, const char *word, size_t n, const char **why)
{
    struct points *p = &b->points;
    while (n && (word[n - 1] == ' ' || word[n - 1] == '\t' || word[n - 1] == '\r'))
        n--;
    while (n && (*word == ' ' || *word == '\t'))
        word++, n--;
    if ((*why = check_word(word, n)))
        return -1;
    *why = "out of memory";
    if (!fold_text(b->fold, p, word, n))
        return -1;
    size_t first = 0, end = p->count;
    while (first < end && p->list[first].folded == ' ')
        first++;
    while (end > first && p->list[end - 1].folded == ' ')
        end--;
    uint32_t at = 0;
    for (size_t i = first; i < end; i++)
        if ((at = child_of(b, at, p->list[i].folded)) == UINT32_MAX)
            return -1;
    if (at && !b->list[at].length) {
        if (b->words == WORDS_MAX) {
            *why = "more than 100,000 words";
            return -1;
        }
        b->list[at].length = (uint32_t)(end - first);
        b->words++;
    }
    return 0;
}

static uint32_t step(const struct matcher *m, uint32_t at, uint32_t point)
{
    if (at == 0 && point < 128)
        return m->ascii[point];
    const struct edge *e = m->edges + m->nodes[at].first;
    uint32_t low = 0, high = m->nodes[at].edges;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (e[mid].point < point)
            low = mid + 1;
        else
            high = mid;
    }
    return low < m->nodes[at].edges && e[low].point == point ? e[low].to : 0;
}

/* Breadth first, so that a node's suffixes are laid out before it. `old` holds the trie's number of each node. */
static void lay_out(struct matcher *m, const struct trie *list, uint32_t *old)
{
    uint32_t made = 1;
    old[0] = 0;
    for (uint32_t i = 0; i < made; i++) {
        struct node *n = &m->nodes[i];
        n->length = list[old[i]].length;
        n->first = m->edge_count;
        for (uint32_t c = list[old[i]].child; c; c = list[c].sibling) {
            m->edges[m->edge_count++] = (struct edge){.point = list[c].point, .to = made};
            old[made++] = c;
        }
        n->edges = m->edge_count - n->first;
    }
    for (uint32_t e = 0; e < m->nodes[0].edges; e++)
        if (m->edges[e].point < 128)
            m->ascii[m->edges[e].point] = m->edges[e].to;
    for (uint32_t i = 0; i < made; i++) {
        for (uint32_t e = m->nodes[i].first; e < m->nodes[i].first + m->nodes[i].edges; e++) {
            struct node *child = &m->nodes[m->edges[e].to];
            uint32_t f = m->nodes[i].fail, to = 0;
            if (i != 0)
                while (!(to = step(m, f, m->edges[e].point)) && f)
                    f = m->nodes[f].fail;
            child->fail = to;
            child->output = m->nodes[to].length ? to : m->nodes[to].output;
        }
    }
}

struct matcher *matcher_end(struct matcher_builder *b)
{
    struct matcher *m = calloc(1, sizeof *m);
    uint32_t *old = m ? malloc(b->count * sizeof *old) : NULL;
    if (m) {
        m->nodes = calloc(b->count, sizeof *m->nodes);
        m->edges = calloc(b->count, sizeof *m->edges);
    }
    if (!old || !m->nodes || !m->edges) {
        free(old);
        if (m)
            free(m->nodes), free(m->edges);
        free(m);
        matcher_abandon(b);
        return NULL;
    }
    m->node_count = b->count;
    m->words = b->words;
    m->fold = b->fold;
    b->fold = NULL;
    lay_out(m, b->list, old);
    free(old);
    matcher_abandon(b);
    return m;
}

void matcher_free(struct matcher *m)
{
    if (!m)
        return;
    fold_free(m->fold);
    free(m->nodes);
    free(m->edges);
    free(m);
}

size_t matcher_words(const struct matcher *m)
{
    return m->words;
}

size_t matcher_memory(const struct matcher *m)
{
    return sizeof *m + m->node_count * (sizeof *m->nodes + sizeof *m->edges);
}

/* --- Searching ---------------------------------------------------------------------------------------------------- */

void matcher_scratch_free(struct matcher_scratch *s)
{
    free(s->points.list);
    free(s->found);
    *s = (struct matcher_scratch){.found = NULL};
}

/* Joins a stretch to the list; those that it overlaps or touches become one with it. Ends ascend. */
static bool note(struct matcher_scratch *s, size_t *count, size_t from, size_t to)
{
    while (*count && s->found[*count - 1].to >= from) {
        if (s->found[*count - 1].from < from)
            from = s->found[*count - 1].from;
        --*count;
    }
    if (*count == s->found_cap) {
        size_t cap = s->found_cap ? s->found_cap * 2 : 16;
        struct match *p = realloc(s->found, cap * sizeof *p);
        if (!p)
            return false;
        s->found = p;
        s->found_cap = cap;
    }
    s->found[(*count)++] = (struct match){from, to};
    return true;
}

/* Whether a word at points[begin..end] counts: it is made of whole characters, and stands apart where it must. */
static bool counts(const struct points *p, size_t begin, size_t end, bool whole)
{
    const struct point *list = p->list;
    bool first = begin == 0, last = end + 1 == p->count;
    if ((!first && list[begin].joins) || (!last && list[end + 1].joins))
        return false;
    return !whole || ((first || !list[begin - 1].letter || !list[begin].letter) &&
                      (last || !list[end + 1].letter || !list[end].letter));
}

/* The longest word that ends at `end` and counts; 0: none. */
static uint32_t ending(const struct matcher *m, const struct points *p, size_t end, uint32_t at, bool whole)
{
    for (uint32_t o = m->nodes[at].length ? at : m->nodes[at].output; o; o = m->nodes[o].output)
        if (counts(p, end + 1 - m->nodes[o].length, end, whole))
            return m->nodes[o].length;
    return 0;
}

long matcher_search(const struct matcher *m, struct matcher_scratch *s, const char *text, size_t n, bool whole)
{
    const struct points *p = &s->points;
    size_t found = 0;
    uint32_t at = 0;
    if (!fold_text(m->fold, &s->points, text, n))
        return -1;
    for (size_t i = 0; i < p->count; i++) {
        uint32_t to;
        while (!(to = step(m, at, p->list[i].folded)) && at)
            at = m->nodes[at].fail;
        at = to;
        uint32_t length = ending(m, p, i, at, whole);
        if (length && !note(s, &found, p->list[i + 1 - length].from, p->list[i].to))
            return -1;
    }
    return (long)found;
}
