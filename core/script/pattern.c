#include "core/script/pattern.h"

#include <string.h>

enum { STEPS = 1024, DEPTH = 200 };

enum node_type {
    NODE_CHAR,
    NODE_ANY,
    NODE_SET,
    NODE_OPEN,
    NODE_POSITION,
    NODE_CLOSE,
    NODE_BACK,     /* %1 */
    NODE_BALANCE,  /* %bxy */
    NODE_FRONTIER, /* %f[set] */
    NODE_END,      /* $ */
    NODE_DONE
};

size_t pattern_memory(size_t n)
{
    return (n + 1) * sizeof(struct pattern_node) + (n / 2 + 1) * sizeof(struct pattern_set);
}

/* --- Compiling ---------------------------------------------------------------------------------------------------- */

static void set_add(struct pattern_set *s, uint8_t c)
{
    s->bits[c >> 6] |= 1ull << (c & 63);
}

static bool set_has(const struct pattern_set *s, uint8_t c)
{
    return s->bits[c >> 6] >> (c & 63) & 1;
}

static bool is_digit(unsigned c)
{
    return c >= '0' && c <= '9';
}
static bool is_lower(unsigned c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_upper(unsigned c)
{
    return c >= 'A' && c <= 'Z';
}
static bool is_graph(unsigned c)
{
    return c > 0x20 && c < 0x7f;
}

/* ASCII, whatever the locale. Returns -1 when the letter names no class. */
static int in_class(unsigned c, unsigned letter)
{
    bool alpha = is_lower(c) || is_upper(c);
    switch (letter | 0x20) {
    case 'a':
        return alpha;
    case 'c':
        return c < 0x20 || c == 0x7f;
    case 'd':
        return is_digit(c);
    case 'g':
        return is_graph(c);
    case 'l':
        return is_lower(c);
    case 'p':
        return is_graph(c) && !alpha && !is_digit(c);
    case 's':
        return c == ' ' || (c >= 9 && c <= 13);
    case 'u':
        return is_upper(c);
    case 'w':
        return alpha || is_digit(c);
    case 'x':
        return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    case 'z':
        return c == 0;
    default:
        return -1;
    }
}

static bool is_class(unsigned letter)
{
    return (is_lower(letter) || is_upper(letter)) && in_class(0, letter) >= 0;
}

/* All bytes of %letter; a capital means the others. */
static void set_add_class(struct pattern_set *s, unsigned letter)
{
    bool others = is_upper(letter);
    for (unsigned c = 0; c < 256; c++)
        if ((in_class(c, letter) == 1) != others)
            set_add(s, (uint8_t)c);
}

struct compiler {
    struct pattern *p;
    const char *at, *end;
    uint8_t open[PATTERN_CAPTURES]; /* numbers of captures begun and not ended */
    uint8_t open_count;
};

static struct pattern_set *new_set(struct pattern *p)
{
    struct pattern_set *s = &p->sets[p->set_count++];
    memset(s, 0, sizeof *s);
    return s;
}

static struct pattern_node *new_node(struct pattern *p, enum node_type type)
{
    struct pattern_node *n = &p->nodes[p->node_count++];
    *n = (struct pattern_node){.type = (uint8_t)type};
    return n;
}

/* The end of the set that begins at `at` ("["): the place of its "]"; NULL: there is none. A first ] is a member. */
static const char *set_end(const char *at, const char *end)
{
    at++;
    if (at < end && *at == '^')
        at++;
    for (bool first = true; at < end; first = false) {
        if (*at == ']' && !first)
            return at;
        if (*at == '%')
            at++;
        at++;
    }
    return NULL;
}

/* [...] at c->at. */
static const char *compile_set(struct compiler *c, uint32_t *index)
{
    const char *close = set_end(c->at, c->end), *at = c->at + 1;
    if (!close)
        return "malformed pattern (missing ']')";
    *index = c->p->set_count;
    struct pattern_set *s = new_set(c->p);
    bool others = *at == '^';
    if (others)
        at++;
    while (at < close) {
        uint8_t b = (uint8_t)*at;
        if (b == '%' && at + 1 < close) {
            uint8_t letter = (uint8_t)at[1];
            if (is_class(letter))
                set_add_class(s, letter);
            else
                set_add(s, letter);
            at += 2;
        } else if (at + 2 < close && at[1] == '-') {
            for (unsigned v = b; v <= (uint8_t)at[2]; v++)
                set_add(s, (uint8_t)v);
            at += 3;
        } else {
            set_add(s, b);
            at++;
        }
    }
    if (others)
        for (unsigned i = 0; i < 4; i++)
            s->bits[i] = ~s->bits[i];
    c->at = close + 1;
    return NULL;
}

/* A character, a class or a set, and what may stand behind it. */
static const char *compile_single(struct compiler *c)
{
    struct pattern_node *n = new_node(c->p, NODE_CHAR);
    uint8_t b = (uint8_t)*c->at;
    if (b == '.') {
        n->type = NODE_ANY;
        c->at++;
    } else if (b == '[') {
        n->type = NODE_SET;
        const char *why = compile_set(c, &n->set);
        if (why)
            return why;
    } else if (b == '%') {
        uint8_t letter = (uint8_t)c->at[1];
        if (is_class(letter)) {
            n->type = NODE_SET;
            n->set = c->p->set_count;
            set_add_class(new_set(c->p), letter);
        } else {
            n->a = letter;
        }
        c->at += 2;
    } else {
        n->a = b;
        c->at++;
    }
    if (c->at < c->end && memchr("*+-?", *c->at, 4))
        n->quant = (uint8_t)*c->at++;
    return NULL;
}

static const char *compile_open(struct compiler *c)
{
    if (c->p->captures == PATTERN_CAPTURES)
        return "too many captures";
    bool position = c->at + 1 < c->end && c->at[1] == ')';
    struct pattern_node *n = new_node(c->p, position ? NODE_POSITION : NODE_OPEN);
    n->a = c->p->captures++;
    c->at += position ? 2 : 1;
    if (!position)
        c->open[c->open_count++] = n->a;
    return NULL;
}

static const char *compile_close(struct compiler *c)
{
    if (c->open_count == 0)
        return "invalid pattern capture";
    new_node(c->p, NODE_CLOSE)->a = c->open[--c->open_count];
    c->at++;
    return NULL;
}

static const char *compile_escape(struct compiler *c)
{
    if (c->at + 1 == c->end)
        return "malformed pattern (ends with '%')";
    uint8_t letter = (uint8_t)c->at[1];
    if (letter == 'b') {
        if (c->end - c->at < 4)
            return "unbalanced pattern";
        struct pattern_node *n = new_node(c->p, NODE_BALANCE);
        n->a = (uint8_t)c->at[2];
        n->b = (uint8_t)c->at[3];
        c->at += 4;
        return NULL;
    }
    if (letter == 'f') {
        c->at += 2;
        if (c->at == c->end || *c->at != '[')
            return "missing '[' after '%f' in pattern";
        uint32_t set;
        struct pattern_node *n = new_node(c->p, NODE_FRONTIER);
        const char *why = compile_set(c, &set);
        n->set = set;
        return why;
    }
    if (is_digit(letter)) {
        uint8_t index = (uint8_t)(letter - '1');
        if (letter == '0' || index >= c->p->captures || memchr(c->open, index, c->open_count))
            return "invalid capture index";
        new_node(c->p, NODE_BACK)->a = index;
        c->at += 2;
        return NULL;
    }
    return compile_single(c);
}

const char *pattern_compile(struct pattern *p, struct slice text, bool anchors, void *memory)
{
    if (text.n > PATTERN_MAX)
        return "pattern too long";
    *p = (struct pattern){.sets = memory};
    p->nodes = (struct pattern_node *)(p->sets + text.n / 2 + 1);
    struct compiler c = {.p = p, .at = text.p, .end = text.p + text.n};
    if (anchors && text.n && *c.at == '^') {
        p->anchored = true;
        c.at++;
    }
    while (c.at < c.end) {
        const char *why = NULL;
        if (*c.at == '(')
            why = compile_open(&c);
        else if (*c.at == ')')
            why = compile_close(&c);
        else if (*c.at == '%')
            why = compile_escape(&c);
        else if (*c.at == '$' && c.at + 1 == c.end)
            new_node(p, NODE_END), c.at++;
        else
            why = compile_single(&c);
        if (why)
            return why;
    }
    if (c.open_count)
        return "unfinished capture";
    new_node(p, NODE_DONE);
    return NULL;
}

/* --- Matching ----------------------------------------------------------------------------------------------------- */

static void spend(struct pattern_match *m, size_t steps)
{
    if (steps < m->steps) {
        m->steps -= (uint32_t)steps;
        return;
    }
    m->steps = STEPS;
    if (m->poll)
        m->poll(m->ctx);
}

static bool single(const struct pattern *p, const struct pattern_node *n, uint8_t c)
{
    switch (n->type) {
    case NODE_ANY:
        return true;
    case NODE_SET:
        return set_has(&p->sets[n->set], c);
    default:
        return n->a == c;
    }
}

static const char *run(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n, const char *s);

/* As many as there are, then fewer. */
static const char *longest(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n,
                           const char *s)
{
    const char *at = s;
    while (at < m->end && single(p, n, (uint8_t)*at)) {
        at++;
        spend(m, 1);
    }
    for (const char *least = s + (n->quant == '+'); at >= least; at--) {
        const char *e = run(m, p, n + 1, at);
        if (e || m->why)
            return e;
    }
    return NULL;
}

/* None, then more. */
static const char *shortest(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n,
                            const char *s)
{
    for (;; s++) {
        const char *e = run(m, p, n + 1, s);
        if (e || m->why)
            return e;
        if (s == m->end || !single(p, n, (uint8_t)*s))
            return NULL;
    }
}

static const char *balance(struct pattern_match *m, const struct pattern_node *n, const char *s)
{
    if (s == m->end || (uint8_t)*s != n->a)
        return NULL;
    size_t level = 1;
    for (s++; s < m->end; s++) {
        spend(m, 1);
        if ((uint8_t)*s == n->b) {
            if (--level == 0)
                return s + 1;
        } else if ((uint8_t)*s == n->a) {
            level++;
        }
    }
    return NULL;
}

static bool frontier(const struct pattern_match *m, const struct pattern_set *set, const char *s)
{
    uint8_t before = s == m->subject ? 0 : (uint8_t)s[-1], after = s == m->end ? 0 : (uint8_t)*s;
    return !set_has(set, before) && set_has(set, after);
}

static const char *back_reference(struct pattern_match *m, const struct pattern_node *n, const char *s)
{
    size_t len = m->capture[n->a].n > 0 ? (size_t)m->capture[n->a].n : 0;
    spend(m, len / 16);
    if ((size_t)(m->end - s) < len || (len && memcmp(m->capture[n->a].p, s, len) != 0))
        return NULL;
    return s + len;
}

/* A capture begins here; it is taken back when the rest does not match. */
static const char *begin(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n, const char *s)
{
    m->capture[n->a].p = s;
    m->capture[n->a].n = n->type == NODE_POSITION ? CAPTURE_POSITION : CAPTURE_OPEN;
    m->level = (uint8_t)(n->a + 1);
    const char *e = run(m, p, n + 1, s);
    if (!e)
        m->level = n->a;
    return e;
}

static const char *finish(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n, const char *s)
{
    m->capture[n->a].n = s - m->capture[n->a].p;
    const char *e = run(m, p, n + 1, s);
    if (!e)
        m->capture[n->a].n = CAPTURE_OPEN;
    return e;
}

static const char *run_inside(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n,
                              const char *s)
{
    for (;; n++) {
        spend(m, 1);
        switch (n->type) {
        case NODE_DONE:
            return s;
        case NODE_END:
            if (s != m->end)
                return NULL;
            break;
        case NODE_OPEN:
        case NODE_POSITION:
            return begin(m, p, n, s);
        case NODE_CLOSE:
            return finish(m, p, n, s);
        case NODE_BALANCE:
            if (!(s = balance(m, n, s)))
                return NULL;
            break;
        case NODE_FRONTIER:
            if (!frontier(m, &p->sets[n->set], s))
                return NULL;
            break;
        case NODE_BACK:
            if (!(s = back_reference(m, n, s)))
                return NULL;
            break;
        default:
            if (n->quant == '*' || n->quant == '+')
                return longest(m, p, n, s);
            if (n->quant == '-')
                return shortest(m, p, n, s);
            if (s < m->end && single(p, n, (uint8_t)*s)) {
                if (n->quant == '?') {
                    const char *e = run(m, p, n + 1, s + 1);
                    if (e || m->why)
                        return e;
                } else {
                    s++;
                }
            } else if (n->quant != '?') {
                return NULL;
            }
            break;
        }
    }
}

static const char *run(struct pattern_match *m, const struct pattern *p, const struct pattern_node *n, const char *s)
{
    if (m->depth == 0) {
        m->why = "pattern too complex";
        return NULL;
    }
    m->depth--;
    const char *e = run_inside(m, p, n, s);
    m->depth++;
    return e;
}

const char *pattern_match_at(struct pattern_match *m, const struct pattern *p, const char *at)
{
    m->level = 0;
    m->why = NULL;
    m->depth = DEPTH;
    if (m->steps == 0)
        m->steps = STEPS;
    return run(m, p, p->nodes, at);
}
