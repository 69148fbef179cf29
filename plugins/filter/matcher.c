#include "matcher.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

/* A state is a node of the trie of all words. Its edges stand together, sorted, in one array of all edges. */
struct node {
    uint32_t first;  /* its first edge */
    uint32_t edges;  /* how many */
    uint32_t fail;   /* the longest proper suffix that is a node */
    uint32_t output; /* the next node on the way of `fail` that ends a word; 0: none */
    uint32_t length; /* code points of the word that ends here; 0: none does */
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
    locale_t locale;     /* of folding: C.UTF-8 */
};

/* A character of the text. */
struct point {
    uint32_t folded;
    uint32_t from, to; /* bytes of the text */
    bool letter;       /* or digit */
};

/* --- Folding ------------------------------------------------------------------------------------------------------ */

/* One code point; the text is valid UTF-8. */
static uint32_t decode(const unsigned char *p, size_t *size)
{
    if (p[0] < 0x80)
        return *size = 1, p[0];
    if (p[0] < 0xe0)
        return *size = 2, (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    if (p[0] < 0xf0)
        return *size = 3, (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    *size = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

/* Characters that nobody sees: they would cut a word in two for the matcher and not for the reader. */
static bool invisible(uint32_t c)
{
    return c == 0xad || c == 0x34f || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x2064) || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

static uint32_t fold(locale_t locale, uint32_t c)
{
    if (c < 128)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if (c >= 0xff01 && c <= 0xff5e) /* fullwidth ASCII */
        return fold(locale, c - 0xff01 + '!');
    return (uint32_t)towlower_l((wint_t)c, locale);
}

static bool is_letter(locale_t locale, uint32_t c)
{
    if (c < 128)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return iswalnum_l((wint_t)c, locale) != 0;
}

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
    locale_t locale;
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
    b->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!b->locale || !grow(b)) {
        matcher_abandon(b);
        return NULL;
    }
    b->list[b->count++] = (struct trie){.point = 0};
    return b;
}

void matcher_abandon(struct matcher_builder *b)
{
    if (b && b->locale)
        freelocale(b->locale);
    if (b)
        free(b->list);
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

static bool utf8_good(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t size = p[i] < 0x80                   ? 1
                      : p[i] >= 0xc2 && p[i] < 0xe0 ? 2
                      : (p[i] & 0xf0) == 0xe0       ? 3
                      : p[i] >= 0xf0 && p[i] < 0xf5 ? 4
                                                    : 0;
        if (!size || i + size > n)
            return false;
        for (size_t k = 1; k < size; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
        uint32_t c = decode(p + i, &size);
        if ((size == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (size == 4 && (c < 0x10000 || c > 0x10ffff)))
            return false;
        i += size;
    }
    return true;
}

int matcher_add(struct matcher_builder *b, const char *word, size_t n, const char **why)
{
    const unsigned char *p = (const unsigned char *)word;
    uint32_t points[WORD_MAX], count = 0;
    if (!utf8_good(p, n)) {
        *why = "not valid UTF-8";
        return -1;
    }
    while (n && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    for (size_t i = 0, size; i < n; i += size) {
        uint32_t c = decode(p + i, &size);
        if (invisible(c))
            continue;
        if (count == WORD_MAX) {
            *why = "longer than 64 characters";
            return -1;
        }
        points[count++] = fold(b->locale, c);
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        at = child_of(b, at, points[i]);
        if (at == UINT32_MAX) {
            *why = "out of memory";
            return -1;
        }
    }
    if (count && !b->list[at].length) {
        if (b->words == WORDS_MAX) {
            *why = "more than 100,000 words";
            return -1;
        }
        b->list[at].length = count;
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
    m->locale = b->locale;
    b->locale = (locale_t)0;
    lay_out(m, b->list, old);
    free(old);
    matcher_abandon(b);
    return m;
}

void matcher_free(struct matcher *m)
{
    if (!m)
        return;
    freelocale(m->locale);
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
    free(s->points);
    free(s->found);
    *s = (struct matcher_scratch){.points = NULL};
}

static size_t read_points(const struct matcher *m, struct matcher_scratch *s, const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t count = 0;
    for (size_t i = 0, size; i < n; i += size) {
        uint32_t c = decode(p + i, &size);
        if (invisible(c))
            continue;
        c = fold(m->locale, c);
        s->points[count++] = (struct point){
            .folded = c, .from = (uint32_t)i, .to = (uint32_t)(i + size), .letter = is_letter(m->locale, c)};
    }
    return count;
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

/* The longest word that ends at `end` and counts; 0: none. */
static uint32_t ending(const struct matcher *m, const struct point *points, size_t count, size_t end, uint32_t at,
                       bool whole)
{
    for (uint32_t o = m->nodes[at].length ? at : m->nodes[at].output; o; o = m->nodes[o].output) {
        uint32_t length = m->nodes[o].length;
        size_t begin = end + 1 - length;
        bool apart = (begin == 0 || !points[begin - 1].letter || !points[begin].letter) &&
                     (end + 1 == count || !points[end + 1].letter || !points[end].letter);
        if (!whole || apart)
            return length;
    }
    return 0;
}

long matcher_search(const struct matcher *m, struct matcher_scratch *s, const char *text, size_t n, bool whole)
{
    if (n > s->cap) {
        struct point *p = realloc(s->points, n * sizeof *p);
        if (!p)
            return -1;
        s->points = p;
        s->cap = n;
    }
    size_t count = read_points(m, s, text, n), found = 0;
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t to;
        while (!(to = step(m, at, s->points[i].folded)) && at)
            at = m->nodes[at].fail;
        at = to;
        uint32_t length = ending(m, s->points, count, i, at, whole);
        if (length && !note(s, &found, s->points[i + 1 - length].from, s->points[i].to))
            return -1;
    }
    return (long)found;
}
