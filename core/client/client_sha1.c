/* SHA-1 (FIPS 180-4) of short inputs. */
#include "core/client/client_sha1.h"

#include "core/base/buf.h"
#include "core/base/err.h"

enum { BLOCK = 64 };

static uint32_t rotate(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

static void block_mix(uint32_t h[5], const uint8_t *block)
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80];
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (unsigned i = 0; i < 16; i++)
        w[i] = load_be32(block + 4 * i);
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t t = rotate(a, 5) + f + e + constants[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void client_sha1(const void *p, size_t n, uint8_t digest[CLIENT_SHA1_LEN])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * BLOCK] = {0};
    size_t blocks = n + 9 > BLOCK ? 2 : 1;

    ASSERT(n <= CLIENT_SHA1_INPUT_MAX);
    memcpy(padded, p, n);
    padded[n] = 0x80;
    store_be64(padded + blocks * BLOCK - 8, (uint64_t)n * 8);
    for (size_t i = 0; i < blocks; i++)
        block_mix(h, padded + i * BLOCK);
    for (size_t i = 0; i < 5; i++)
        store_be32(digest + 4 * i, h[i]);
}
