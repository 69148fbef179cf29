#include "core/base/utf8.h"

/*
 * The decoder's state is 0 between characters. Inside one it holds how many continuation bytes are missing (low byte)
 * and the bounds of the next one (second and third byte), which differ from 80-BF only after E0, ED, F0 and F4 (RFC
 * 3629 section 4).
 */
static uint32_t state_of(unsigned missing, unsigned low, unsigned high)
{
    return missing | low << 8 | high << 16;
}

static bool lead(uint32_t *state, unsigned c)
{
    if (c < 0x80)
        *state = 0;
    else if (c >= 0xC2 && c <= 0xDF)
        *state = state_of(1, 0x80, 0xBF);
    else if (c >= 0xE0 && c <= 0xEF)
        *state = state_of(2, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF);
    else if (c >= 0xF0 && c <= 0xF4)
        *state = state_of(3, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF);
    else
        return false;
    return true;
}

bool utf8_check(uint32_t *state, const void *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = p + n;
    uint32_t s = *state;
    while (p < end) {
        if (s == 0) {
            uint64_t word;
            while (end - p >= 8 && (memcpy(&word, p, 8), (word & 0x8080808080808080ull) == 0))
                p += 8;
            if (p == end)
                break;
            if (!lead(&s, *p++))
                return false;
            continue;
        }
        unsigned c = *p++;
        if (c < (s >> 8 & 0xFF) || c > (s >> 16 & 0xFF))
            return false;
        s = (s & 0xFF) == 1 ? 0 : state_of((s & 0xFF) - 1, 0x80, 0xBF);
    }
    *state = s;
    return true;
}

struct slice utf8_prefix(struct slice s)
{
    uint32_t state = 0;
    size_t whole = 0;
    for (size_t i = 0; i < s.n && utf8_check(&state, s.p + i, 1); i++)
        if (state == 0)
            whole = i + 1;
    return slice_of(s.p, whole);
}

bool utf8_valid(struct slice s)
{
    if (s.n == 0)
        return true;
    uint32_t state = 0;
    return utf8_check(&state, s.p, s.n) && state == 0;
}

bool utf8_has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && i + 1 < s.n && (uint8_t)s.p[i + 1] < 0xA0))
            return true;
    }
    return false;
}

bool value_user_id(struct slice s)
{
    if (s.n < 1 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == ':' || c == '-'))
            return false;
    }
    return true;
}

bool value_name(struct slice s)
{
    return s.n >= 1 && s.n <= 64 && utf8_valid(s) && !utf8_has_control(s);
}

/* The code point at *at, which moves behind it. The text is valid. */
static uint32_t next_point(struct slice s, size_t *at)
{
    uint8_t first = (uint8_t)s.p[(*at)++];
    if (first < 0x80)
        return first;
    unsigned more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    uint32_t c = first & (0x3Fu >> more);
    for (; more; more--)
        c = c << 6 | ((uint8_t)s.p[(*at)++] & 0x3F);
    return c;
}

/* White space and what is not seen (Unicode's White_Space and Default_Ignorable_Code_Point), but for controls, which no
 * name has. */
static bool unseen(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x20, 0x20},       {0xA0, 0xA0},       {0xAD, 0xAD},      {0x34F, 0x34F},   {0x61C, 0x61C},   {0x115F, 0x1160},
        {0x1680, 0x1680},   {0x17B4, 0x17B5},   {0x180B, 0x180F},  {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F},
        {0x3000, 0x3000},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},  {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFF8},
        {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

/* Of a letter that can stand for one of a-z: that one. */
static uint32_t plain(uint32_t c)
{
    if (c >= 0xFF21 && c <= 0xFF5A) /* full width */
        c -= 0xFF21 - 'A';
    if (c == 0x17F) /* the long s */
        return 's';
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

bool value_name_reserved(struct slice name)
{
    static const char reserved[] = "system";
    size_t matched = 0;
    for (size_t i = 0; i < name.n;) {
        uint32_t c = next_point(name, &i);
        if (unseen(c))
            continue;
        if (matched == sizeof reserved - 1 || plain(c) != (uint8_t)reserved[matched])
            return false;
        matched++;
    }
    return matched == sizeof reserved - 1;
}

bool value_channel(struct slice s)
{
    return value_name(s) && s.p[0] != ' ' && s.p[s.n - 1] != ' ';
}
