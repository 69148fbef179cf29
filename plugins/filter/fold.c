#include "fold.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    DIRECT = 0x3100,    /* code points that have a place in the table: up to the kana */
    PARTS_MAX = 32,     /* code points that one is decomposed to; Unicode's longest has 18 */
    MARKS_MAX = 16,     /* marks on one character that count; no script needs more than a few */
    LETTERS_OWN = 0x590 /* Latin, Greek, Cyrillic and Armenian letters stand before it: those have code points of their
                           own with every mark that matters */
};

/* What a code point of the table becomes: one code point (SIMPLE), which may be a LETTER; or several (else), which
 * stand in the pool. 0: by the long way. */
enum { SIMPLE = 1u << 30, LETTER = 1u << 29, POINT = (1u << 21) - 1, POOL = 8192, COUNT_BITS = 3 };

struct fold {
    uint32_t direct[DIRECT]; /* several: where they begin in the pool, and in the lowest bits how many */
    int32_t pool[POOL];
};

/* --- Code points
 * --------------------------------------------------------------------------------------------------------- */

size_t fold_decode(const char *p, size_t n, int32_t *c)
{
    utf8proc_ssize_t size = n ? utf8proc_iterate((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, c) : 0;
    return size > 0 ? (size_t)size : 0;
}

static bool is_blank(utf8proc_category_t category, int32_t c)
{
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP ||
           c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

/* Places that Unicode keeps for characters that are ignored where they are not known (Default_Ignorable_Code_Point),
 * and has given to none yet, so that the library has no data of them. */
static bool kept_for_invisible(int32_t c)
{
    return c == 0x2065 || (c >= 0xfff0 && c <= 0xfff8) || (c >= 0xe0000 && c <= 0xe0fff);
}

bool fold_invisible(int32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property(c);
    utf8proc_category_t category = (utf8proc_category_t)property->category;
    return property->ignorable || category == UTF8PROC_CATEGORY_CF || kept_for_invisible(c) ||
           (category == UTF8PROC_CATEGORY_CC && !is_blank(category, c));
}

static bool is_mark(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

/* Whether it stands beside its letter and belongs to it all the same: vowel signs of Indian scripts. */
static bool is_beside(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_MC;
}

static bool is_letter(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO; /* letters, marks, numbers */
}
_Static_assert(UTF8PROC_CATEGORY_LU == 1 && UTF8PROC_CATEGORY_MN == 6 && UTF8PROC_CATEGORY_NO == 11,
               "they stand together");

/* base and a mark as one code point; 0: there is none. */
static int32_t compose(int32_t base, int32_t mark)
{
    int32_t both[2] = {base, mark};
    return utf8proc_normalize_utf32(both, 2, UTF8PROC_COMPOSE) == 1 ? both[0] : 0;
}

/* Marks for all scripts: strokes through, rings around, and what else can be put on any letter. */
static bool is_general(int32_t c)
{
    return (c >= 0x300 && c <= 0x36f) || (c >= 0x1ab0 && c <= 0x1aff) || (c >= 0x1dc0 && c <= 0x1dff) ||
           (c >= 0x20d0 && c <= 0x20ff) || (c >= 0xfe20 && c <= 0xfe2f);
}

/*
 * Whether a mark is part of its letter: with it, it is one code point ("é"), or it is a script's own mark on one of its
 * own letters. Others are decoration, and are passed over as what is invisible is: else a stroke through each letter
 * would hide a word. *whole: the letter with its marks so far; 0: none, and then all of them are decoration.
 */
static bool belongs(int32_t base, int32_t *whole, int32_t mark)
{
    int32_t one = base ? compose(*whole, mark) : 0;
    if (one)
        *whole = one;
    return one || (base >= LETTERS_OWN && !is_general(mark));
}

/* The code points that c is compared as; 0: none. */
static size_t fold_point(int32_t c, int32_t parts[PARTS_MAX])
{
    int last = 0;
    if (fold_invisible(c))
        return 0;
    if (is_blank(utf8proc_category(c), c)) {
        parts[0] = ' ';
        return 1;
    }
    utf8proc_ssize_t n = utf8proc_decompose_char(
        c, parts, PARTS_MAX, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, &last);
    if (n < 0 || n > PARTS_MAX) {
        parts[0] = c;
        n = 1;
    }
    size_t kept = 0;
    int32_t base = 0, whole = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        bool mark = is_mark(parts[i]);
        if (!mark)
            base = whole = parts[i];
        if (!mark || !base || belongs(base, &whole, parts[i])) /* a mark without a letter is for one before it */
            parts[kept++] = parts[i];
    }
    return kept;
}

/* A part of a Korean syllable. */
static bool is_jamo(int32_t c)
{
    return c >= 0x1100 && c < 0x1200;
}

struct fold *fold_new(void)
{
    struct fold *f = calloc(1, sizeof *f);
    uint32_t used = 1;
    for (int32_t c = 0; f && c < DIRECT; c++) {
        int32_t parts[PARTS_MAX];
        size_t n = fold_point(c, parts);
        if (n == 1 && !is_mark(parts[0]) && !is_beside(parts[0]) && !is_jamo(parts[0])) {
            f->direct[c] = SIMPLE | (uint32_t)parts[0] | (is_letter(parts[0]) ? LETTER : 0);
        } else if (n > 1 && n < 1u << COUNT_BITS && used + n <= POOL) {
            memcpy(f->pool + used, parts, n * sizeof *parts);
            f->direct[c] = used << COUNT_BITS | (uint32_t)n;
            used += (uint32_t)n;
        }
    }
    return f;
}

void fold_free(struct fold *f)
{
    free(f);
}

/* --- Texts
 * ----------------------------------------------------------------------------------------------------------------- */

struct mark {
    int32_t c;
    int class; /* canonical combining class: those of different classes may stand in either order */
};

/* A reading of one text. */
struct reading {
    struct points *out;
    size_t base;    /* the point that marks would stand on; SIZE_MAX: there is none */
    size_t from;    /* bytes: where its character begins */
    size_t to;      /* and where the last of its marks ends */
    unsigned marks; /* that are not in `out` yet */
    bool apart;     /* some of them are characters of their own, and not of the letter's code point */
    struct mark list[MARKS_MAX];
};

static bool reserve(struct points *p, size_t more)
{
    if (p->count + more <= p->cap)
        return true;
    size_t cap = p->count + more + p->cap / 2;
    struct point *list = realloc(p->list, cap * sizeof *list);
    if (!list)
        return false;
    p->list = list;
    p->cap = cap;
    return true;
}

/* The marks of a character that are part of its letter follow it into the points, in canonical order. */
static void end_character(struct reading *r)
{
    if (!r->marks)
        return;
    for (unsigned i = 1; i < r->marks; i++) {
        struct mark m = r->list[i];
        unsigned at = i;
        for (; at && r->list[at - 1].class > m.class; at--)
            r->list[at] = r->list[at - 1];
        r->list[at] = m;
    }
    int32_t base = r->base == SIZE_MAX ? 0 : (int32_t)r->out->list[r->base].folded, whole = base;
    for (unsigned i = 0; i < r->marks; i++) {
        int32_t c = r->list[i].c;
        if (r->apart && !belongs(base, &whole, c))
            continue;
        r->out->list[r->out->count++] = (struct point){.folded = (uint32_t)c, .letter = true, .joins = true};
    }
    for (size_t i = r->base; i < r->out->count; i++) { /* none without a base: it is SIZE_MAX */
        r->out->list[i].from = (uint32_t)r->from;
        r->out->list[i].to = (uint32_t)r->to;
    }
    r->marks = 0;
    r->apart = false;
}

static void put(struct reading *r, int32_t c, bool letter, bool joins, size_t from, size_t to)
{
    struct points *p = r->out;
    end_character(r);
    r->base = p->count;
    r->from = from;
    p->list[p->count++] = (struct point){(uint32_t)c, (uint32_t)from, (uint32_t)to, letter, joins};
}

/* Korean syllables are compared by their parts: vowels and finals belong to the syllable before them. */
static bool joins_syllable(const struct reading *r, int32_t c)
{
    const struct points *p = r->out;
    return c >= 0x1160 && is_jamo(c) && p->count && is_jamo((int32_t)p->list[p->count - 1].folded);
}

static void put_mark(struct reading *r, int32_t c, bool apart, size_t to)
{
    r->to = to;
    r->apart = r->apart || apart;
    if (r->marks < MARKS_MAX)
        r->list[r->marks++] = (struct mark){c, utf8proc_get_property(c)->combining_class};
}

/* What a character is compared as; its last mark may be followed by more. */
static void put_parts(struct reading *r, const int32_t *parts, size_t n, size_t from, size_t to)
{
    for (size_t i = 0; i < n; i++) {
        int32_t c = parts[i];
        if (is_mark(c))
            put_mark(r, c, i == 0, to);
        else
            put(r, c, is_letter(c), is_beside(c) || joins_syllable(r, c), from, to);
    }
}

/* A Korean syllable: Unicode's own arithmetic (chapter 3.12). */
static void put_syllable(struct reading *r, int32_t c, size_t from, size_t to)
{
    int32_t i = c - 0xac00, final = 0x11a7 + i % 28;
    put(r, 0x1100 + i / 588, true, false, from, to);
    put(r, 0x1161 + i % 588 / 28, true, true, from, to);
    if (final > 0x11a7)
        put(r, final, true, true, from, to);
}

/* A character that is not SIMPLE. left: bytes of the text from here. False: out of memory. */
static bool put_other(const struct fold *f, struct reading *r, int32_t c, size_t from, size_t to, size_t left)
{
    int32_t parts[PARTS_MAX];
    uint32_t direct = c < DIRECT ? f->direct[c] : 0, many = (1u << COUNT_BITS) - 1;
    if ((c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf)) { /* Han: as they are */
        put(r, c, true, false, from, to);
        return true;
    }
    if (c >= 0xac00 && c <= 0xd7a3) {
        put_syllable(r, c, from, to);
        return true;
    }
    if (!reserve(r->out, PARTS_MAX + MARKS_MAX + left))
        return false;
    if (direct)
        put_parts(r, f->pool + (direct >> COUNT_BITS), direct & many, from, to);
    else
        put_parts(r, parts, fold_point(c, parts), from, to);
    return true;
}

bool fold_text(const struct fold *f, struct points *p, const char *text, size_t n)
{
    struct reading r = {.out = p, .base = SIZE_MAX};
    p->count = 0;
    if (!reserve(p, n + MARKS_MAX))
        return false;
    for (size_t i = 0; i < n;) {
        const unsigned char *at = (const unsigned char *)text + i;
        int32_t c = at[0];
        size_t size = 1;
        if (c >= 0x80) {
            size = fold_decode(text + i, n - i, &c);
            if (!size)
                break; /* does not come: the text is valid */
        }
        uint32_t direct = c < DIRECT ? f->direct[c] : 0;
        if (direct & SIMPLE)
            put(&r, (int32_t)(direct & POINT), direct & LETTER, false, i, i + size);
        else if (!put_other(f, &r, c, i, i + size, n - i))
            return false;
        i += size;
    }
    end_character(&r);
    return true;
}
