/*
 * The console's password: compared in constant time, and five wrong ones a minute from one address. Of several nodes
 * each tells the others of a wrong one at once, and of a right one after those: five are five wherever they come. What
 * is under way at the same moment may be as many more on each node, once.
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/log_security.h"
#include "core/console/remote.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

enum { MINUTE_MS = 60000 };

void console_set_password(struct console *c, const char *password)
{
    uint8_t hash[sizeof c->password] = {0};
    bool had = c->has_password;
    c->has_password = password != NULL;
    if (password)
        SHA256((const unsigned char *)password, strlen(password), hash);
    if (had != c->has_password || CRYPTO_memcmp(hash, c->password, sizeof hash) != 0)
        c->password_changes++;
    memcpy(c->password, hash, sizeof hash);
}

/* What an address is counted as: a host has a /64 of its own as a rule, so IPv6 ones share. */
static void account_of(const char *ip, char *out, size_t size)
{
    struct in6_addr a;
    if (inet_pton(AF_INET6, ip, &a) == 1 && !IN6_IS_ADDR_V4MAPPED(&a)) {
        memset(a.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &a, out, (socklen_t)size);
    } else {
        snprintf(out, size, "%s", ip);
    }
}

/* The account of an address. Where all places are taken by others who were wrong within a minute it takes that of
 * the oldest of them: however many addresses guess, they keep nobody else out. */
static struct guesser *guesser_of(struct console *c, const char *ip, uint64_t now)
{
    struct guesser *oldest = &c->guessers[0];
    char account[sizeof oldest->ip];
    account_of(ip, account, sizeof account);
    for (unsigned i = 0; i < GUESSERS; i++) {
        struct guesser *g = &c->guessers[i];
        if (g->wrong && now - g->began_ms >= MINUTE_MS)
            *g = (struct guesser){.wrong = 0};
        if (g->wrong && strcmp(g->ip, account) == 0)
            return g;
        if (oldest->wrong && (!g->wrong || g->began_ms < oldest->began_ms))
            oldest = g;
    }
    *oldest = (struct guesser){.began_ms = now};
    memcpy(oldest->ip, account, sizeof account);
    return oldest;
}

/* --- Guesses at other nodes --------------------------------------------------------------------------------------- */

enum { GUESS_WRONG = '+', GUESS_RIGHT = '0' };

static void told(void *ctx, const struct node_answer *answers, unsigned n)
{
    (void)ctx, (void)answers, (void)n;
}

/* Of addresses: a Unix socket is of one machine. Best effort: what cannot be told is counted here alone. */
static void tell(struct console *c, const struct guesser *g, char what)
{
    char body[2 + sizeof g->ip];
    if (strcmp(g->ip, "unix") == 0)
        return;
    int n = snprintf(body, sizeof body, "%c%c%s", REMOTE_GUESS, what, g->ip);
    (void)!nodes_ask(c->hub,
                     &(struct node_ask){.subject = NODE_CONSOLE, .body = slice_of(body, (size_t)n), .done = told});
}

void guess_heard(struct console *c, struct node_question *q)
{
    char ip[sizeof c->guessers[0].ip];
    bool sane = q->body.n > 2 && q->body.n - 2 < sizeof ip;
    if (sane) {
        snprintf(ip, sizeof ip, "%.*s", (int)(q->body.n - 2), q->body.p + 2);
        struct guesser *g = guesser_of(c, ip, clock_mono_ms());
        g->wrong = q->body.p[1] == GUESS_WRONG ? g->wrong + 1 : 0;
    }
    node_answer(c->hub, q, SLICE_LIT("V"));
}

/* --- Here --------------------------------------------------------------------------------------------------------- */

const char *auth_try(struct console *c, const char *ip, struct slice password, const char **text)
{
    uint64_t now = clock_mono_ms();
    uint8_t given[sizeof c->password];
    struct guesser *g = guesser_of(c, ip, now);
    if (g->wrong >= GUESSES) {
        *text = "too many wrong passwords; wait a minute";
        log_event(LOG_WARN, "console.auth_limited", LOG_STR("ip", ip));
        security_event("console.refused", LOG_STR("ip", ip), LOG_STR("because", *text));
        return "rate_limited";
    }
    /* Hashes are compared, so that the time tells nothing of the password or of its length. */
    SHA256((const unsigned char *)password.p, password.n, given);
    bool right = CRYPTO_memcmp(given, c->password, sizeof given) == 0;
    OPENSSL_cleanse(given, sizeof given);
    if (right) {
        if (g->wrong)
            tell(c, g, GUESS_RIGHT);
        g->wrong = 0;
        security_event("console.accepted", LOG_STR("ip", ip));
        return NULL;
    }
    g->wrong++;
    tell(c, g, GUESS_WRONG);
    *text = "wrong password";
    log_event(LOG_WARN, "console.auth_failed", LOG_STR("ip", ip), LOG_INT("wrong", g->wrong));
    security_event("console.refused", LOG_STR("ip", ip), LOG_STR("because", *text));
    return "unauthorized";
}

enum password_answer auth_password(void *ctx, const char *ip, struct slice password)
{
    struct console *c = ctx;
    const char *text, *code;
    if (!c->has_password)
        return PASSWORD_NONE;
    code = auth_try(c, ip, password, &text);
    if (!code)
        return PASSWORD_RIGHT;
    return strcmp(code, "rate_limited") == 0 ? PASSWORD_LIMITED : PASSWORD_WRONG;
}

uint64_t auth_password_number(const void *ctx)
{
    const struct console *c = ctx;
    return c->has_password ? c->password_changes : 0;
}
